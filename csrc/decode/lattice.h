// Lattices: acyclic automata of words whose arcs carry a graph cost and an acoustic cost.
//
// One form serves both of Kaldi's. In a state-level lattice (Kaldi's Lattice; what the search
// leaves) an arc's ilabel is a transition id, one per frame, or 0. In a compact lattice (Kaldi's
// CompactLattice; what determinization makes) it is the number of a string of transition ids;
// string 0 is empty. Whatever does not look at transition ids treats both alike.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace kdspeech {

struct LatticeArc {
  int32_t ilabel;       // transition id, or the number of a string of them
  int32_t olabel;       // word, 0 for none
  int32_t nextstate;    // above the state that the arc leaves
  float graph_cost;     // language model, transition and pronunciation: -log probability
  float acoustic_cost;  // -log likelihood without the acoustic scale
};

// Both +infinity where a state is not final.
struct LatticeCost {
  float graph_cost = std::numeric_limits<float>::infinity();
  float acoustic_cost = std::numeric_limits<float>::infinity();
};

inline bool IsFinal(const LatticeCost& cost) {
  return cost.graph_cost != std::numeric_limits<float>::infinity();
}

// A lattice in somebody's memory (a mapped file, numpy's, a Lattice), to read. State 0 is the
// start, states are sorted topologically, the arcs of state s are arcs[offsets[s] .. offsets[s+1]).
struct LatticeView {
  int32_t num_states = 0;
  int32_t num_strings = 0;           // 0 in a state-level lattice
  const int32_t* offsets = nullptr;  // num_states + 1
  const LatticeArc* arcs = nullptr;
  const LatticeCost* finals = nullptr;  // num_states
  // Compact lattices only: the string that goes with a final cost (num_states), and the
  // transition ids of string i, tids[string_offsets[i] .. string_offsets[i + 1]).
  const int32_t* final_strings = nullptr;
  const int32_t* string_offsets = nullptr;
  const int32_t* tids = nullptr;

  bool IsCompact() const { return num_strings > 0; }
  int32_t NumArcs() const { return num_states ? offsets[num_states] : 0; }
  const LatticeArc* Begin(int32_t state) const { return arcs + offsets[state]; }
  const LatticeArc* End(int32_t state) const { return arcs + offsets[state + 1]; }
};

// A lattice that owns its memory. To fill one: for every state in order, append its arcs, then
// call EndState; a state may point only to states that come after it.
struct Lattice {
  std::vector<int32_t> offsets{0};
  std::vector<LatticeArc> arcs;
  std::vector<LatticeCost> finals;
  std::vector<int32_t> final_strings, string_offsets, tids;  // empty in a state-level lattice

  void EndState(const LatticeCost& final_cost = {}) {
    offsets.push_back(static_cast<int32_t>(arcs.size()));
    finals.push_back(final_cost);
  }
  int32_t NumStates() const { return static_cast<int32_t>(finals.size()); }
  bool IsCompact() const { return !string_offsets.empty(); }
  LatticeView View() const {
    const int32_t num_strings = IsCompact() ? static_cast<int32_t>(string_offsets.size()) - 1 : 0;
    return {NumStates(),   num_strings,          offsets.data(),        arcs.data(),
            finals.data(), final_strings.data(), string_offsets.data(), tids.data()};
  }
};

// Throws InputError unless the arrays, of these sizes, are a lattice as described above.
void CheckLattice(const LatticeView& lattice, int64_t num_offsets, int64_t num_arcs,
                  int64_t num_string_offsets, int64_t num_tids);

// How many transition ids the arc carries.
inline int32_t NumFrames(const LatticeView& lattice, const LatticeArc& arc) {
  if (!lattice.IsCompact()) return arc.ilabel != 0;
  return lattice.string_offsets[arc.ilabel + 1] - lattice.string_offsets[arc.ilabel];
}

// The frame of each state: how many transition ids lead to it; -1 where nothing leads. Throws
// InputError where two paths to a state differ in that.
std::vector<int32_t> StateTimes(const LatticeView& lattice);

}  // namespace kdspeech
