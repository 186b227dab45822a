// Rescoring of lattices with other language models.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// A back-off language model as an automaton of words (Kaldi's G.fst): a state's arcs have words,
// and one more arc leads to the state of the shorter history.
class Grammar {
 public:
  struct Arc {
    int32_t word, next;
    float cost;  // natural log, negated
  };

  // `offsets`: num_states + 1. Arcs with the word `backoff`, or 0, are back-off arcs. `finals`:
  // infinite where a sentence cannot end (without backing off). Throws InputError if these are no
  // such automaton.
  Grammar(const std::vector<int64_t>& offsets, const std::vector<Arc>& arcs,
          std::vector<float> finals, int32_t start, int32_t backoff);

  int32_t Start() const { return start_; }
  // Goes on from `state` by `word`, backing off until a state has it. Returns its cost, infinite
  // where no state has, and sets `state`.
  double Step(int32_t word, int32_t* state) const;
  // The cost of ending in `state`, infinite where that cannot be.
  double FinalCost(int32_t state) const;

 private:
  void CheckBackoffs() const;

  int32_t start_;
  std::vector<int64_t> offsets_;
  std::vector<Arc> arcs_;      // of each state sorted by word, without those of the back-off
  std::vector<Arc> backoffs_;  // of each state; next is -1 where there is none
  std::vector<float> finals_;
};

// The lattice with scale * (cost by the grammar) added to the graph costs, for each term. Paths
// with words that a grammar does not have are left out. Throws InputError where no path is left
// over of some.
struct GrammarTerm {
  const Grammar* grammar;
  double scale;
};
Lattice RescoreLm(const LatticeView& lattice, const std::vector<GrammarTerm>& terms);

}  // namespace kdspeech
