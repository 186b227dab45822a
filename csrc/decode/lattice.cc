#include "decode/lattice.h"

#include <cmath>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace {

void Require(bool good, const std::string& problem) {
  if (!good) throw InputError("lattice: " + problem);
}

// `offsets` climbs from 0 to `total`.
void CheckOffsets(const int32_t* offsets, int64_t size, int64_t total, const char* name) {
  bool good = size > 0 && offsets[0] == 0 && offsets[size - 1] == total;
  for (int64_t i = 1; i < size; ++i) good &= offsets[i - 1] <= offsets[i];
  Require(good, std::string(name) + " do not climb from 0 to the number of what they divide");
}

bool IsCost(float graph_cost, float acoustic_cost) {
  return std::isfinite(graph_cost) && std::isfinite(acoustic_cost);
}

void CheckArcs(const LatticeView& lattice) {
  const int64_t num_labels = lattice.IsCompact() ? lattice.num_strings : int64_t{1} << 31;
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      const std::string where = "an arc of state " + std::to_string(state);
      Require(arc->nextstate > state && arc->nextstate < lattice.num_states,
              where + " leads to state " + std::to_string(arc->nextstate) +
                  ", which does not come after it");
      Require(arc->ilabel >= 0 && arc->ilabel < num_labels && arc->olabel >= 0,
              where + " has a label out of range");
      Require(IsCost(arc->graph_cost, arc->acoustic_cost), where + " has a cost that is no number");
    }
  }
}

void CheckFinals(const LatticeView& lattice) {
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    const LatticeCost& cost = lattice.finals[state];
    const std::string where = "state " + std::to_string(state);
    Require(!IsFinal(cost) || IsCost(cost.graph_cost, cost.acoustic_cost),
            where + " has a final cost that is no number");
    if (!lattice.IsCompact()) continue;
    const int32_t string = lattice.final_strings[state];
    Require(string >= 0 && string < lattice.num_strings,
            where + " has a final string out of range");
  }
}

}  // namespace

void CheckLattice(const LatticeView& lattice, int64_t num_offsets, int64_t num_arcs,
                  int64_t num_string_offsets, int64_t num_tids) {
  Require(num_offsets == int64_t{lattice.num_states} + 1, "as many final costs as states expected");
  CheckOffsets(lattice.offsets, num_offsets, num_arcs, "the states' offsets");
  if (lattice.IsCompact()) {
    CheckOffsets(lattice.string_offsets, num_string_offsets, num_tids, "the strings' offsets");
    Require(lattice.string_offsets[1] == 0, "string 0 is not empty");
    for (int64_t i = 0; i < num_tids; ++i) {
      Require(lattice.tids[i] > 0, "a transition id below 1");
    }
  }
  CheckArcs(lattice);
  CheckFinals(lattice);
}

std::vector<int32_t> StateTimes(const LatticeView& lattice) {
  std::vector<int32_t> times(lattice.num_states, -1);
  if (!times.empty()) times[0] = 0;
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    if (times[state] < 0) continue;  // nothing leads there
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      const int32_t time = times[state] + NumFrames(lattice, *arc);
      int32_t& next = times[arc->nextstate];
      Require(next < 0 || next == time,
              "paths of different lengths lead to state " + std::to_string(arc->nextstate));
      next = time;
    }
  }
  return times;
}

}  // namespace kdspeech
