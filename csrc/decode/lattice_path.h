// The best paths through a lattice, and pruning around them.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// How the cost of a path is made of the costs of its arcs:
// lm_scale * graph_cost + acoustic_scale * acoustic_cost + word_ins_penalty per word.
struct LatticeScales {
  double acoustic_scale = 1.0;
  double lm_scale = 1.0;
  double word_ins_penalty = 0.0;

  double Cost(double graph_cost, double acoustic_cost) const {
    return lm_scale * graph_cost + acoustic_scale * acoustic_cost;
  }
  double Cost(const LatticeArc& arc) const {
    return Cost(arc.graph_cost, arc.acoustic_cost) + (arc.olabel ? word_ins_penalty : 0.0);
  }
  double Cost(const LatticeCost& cost) const {  // infinite where not final
    return IsFinal(cost) ? Cost(cost.graph_cost, cost.acoustic_cost)
                         : std::numeric_limits<double>::infinity();
  }
};

struct LatticePath {
  std::vector<int32_t> words;
  std::vector<int32_t> begins, ends;  // of each word's arc, in frames; `ends` exclusive
  std::vector<int32_t> tids;
  double graph_cost = 0.0, acoustic_cost = 0.0;  // unscaled
};

// The `n` best paths, the best first; fewer if the lattice has no more, none if it is empty. Paths
// of a determinized lattice differ in their words.
std::vector<LatticePath> NBest(const LatticeView& lattice, const LatticeScales& scales, int32_t n);

// The cost of the best path from each state to the end; infinite where there is none.
std::vector<double> BackwardCosts(const LatticeView& lattice, const LatticeScales& scales);

// The lattice without the arcs and final costs that are on no path within `beam` of the best
// (Kaldi's lattice-prune).
Lattice Prune(const LatticeView& lattice, const LatticeScales& scales, double beam);

// A compact lattice with at most one transition id on each arc (Kaldi's ConvertLattice).
Lattice ToStateLevel(const LatticeView& lattice);

// A state-level lattice as a compact one; arcs and states stay as they are.
Lattice ToCompact(const LatticeView& lattice);

}  // namespace kdspeech
