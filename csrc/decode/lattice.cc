#include "decode/lattice.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace {

[[noreturn]] void Fail(const std::string& problem) { throw InputError("lattice: " + problem); }

[[noreturn]] void Fail(int32_t state, const std::string& problem) {
  Fail("state " + std::to_string(state) + " has " + problem);
}

// `offsets` climbs from 0 to `total`.
void CheckOffsets(const int32_t* offsets, int64_t size, int64_t total, const char* name) {
  bool good = size > 0 && offsets[0] == 0 && offsets[size - 1] == total;
  for (int64_t i = 1; i < size; ++i) good &= offsets[i - 1] <= offsets[i];
  if (!good) {
    Fail(std::string(name) + " do not climb from 0 to the number of what they divide");
  }
}

bool IsCost(float graph_cost, float acoustic_cost) {
  return std::isfinite(graph_cost) && std::isfinite(acoustic_cost);
}

void CheckArc(const LatticeView& lattice, int32_t state, const LatticeArc& arc) {
  if (arc.nextstate <= state || arc.nextstate >= lattice.num_states) {
    Fail(state, "an arc that leads to state " + std::to_string(arc.nextstate) +
                    ", which does not come after it");
  }
  const bool is_label = !lattice.IsCompact() || arc.ilabel < lattice.num_strings;
  if (arc.ilabel < 0 || !is_label || arc.olabel < 0) {
    Fail(state, "an arc with a label out of range");
  }
  if (!IsCost(arc.graph_cost, arc.acoustic_cost)) {
    Fail(state, "an arc with a cost that is no number");
  }
}

void CheckFinal(const LatticeView& lattice, int32_t state) {
  const LatticeCost& cost = lattice.finals[state];
  if (IsFinal(cost) && !IsCost(cost.graph_cost, cost.acoustic_cost)) {
    Fail(state, "a final cost that is no number");
  }
  if (!lattice.IsCompact()) return;
  const int32_t string = lattice.final_strings[state];
  if (string < 0 || string >= lattice.num_strings) Fail(state, "a final string out of range");
}

}  // namespace

void CheckLattice(const LatticeView& lattice, int64_t num_offsets, int64_t num_arcs,
                  int64_t num_string_offsets, int64_t num_tids) {
  if (num_offsets != int64_t{lattice.num_states} + 1)
    Fail("as many final costs as states expected");
  CheckOffsets(lattice.offsets, num_offsets, num_arcs, "the states' offsets");
  if (lattice.IsCompact()) {
    CheckOffsets(lattice.string_offsets, num_string_offsets, num_tids, "the strings' offsets");
    if (lattice.string_offsets[1] != 0) Fail("string 0 is not empty");
    if (std::any_of(lattice.tids, lattice.tids + num_tids, [](int32_t tid) { return tid < 1; })) {
      Fail("a transition id below 1");
    }
  }
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      CheckArc(lattice, state, *arc);
    }
    CheckFinal(lattice, state);
  }
}

std::vector<int32_t> StateTimes(const LatticeView& lattice) {
  std::vector<int32_t> times(lattice.num_states, -1);
  if (!times.empty()) times[0] = 0;
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    if (times[state] < 0) continue;  // nothing leads there
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      const int32_t time = times[state] + NumFrames(lattice, *arc);
      int32_t& next = times[arc->nextstate];
      if (next >= 0 && next != time) {
        Fail("paths of different lengths lead to state " + std::to_string(arc->nextstate));
      }
      next = time;
    }
  }
  return times;
}

}  // namespace kdspeech
