// Determinization of state-level lattices on words, with pruning: for each word sequence within
// the beam, its best path (Kaldi's determinize-lattice-phone-pruned).
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

struct DeterminizeOptions {
  double acoustic_scale = 0.1;    // paths compare by graph_cost + acoustic_scale * acoustic_cost
  double beam = 10.0;             // word sequences worse than the best by more are left out
  int64_t max_mem = 50000000;     // bytes; where it does not suffice, the beam gets smaller
  bool phone_determinize = true;  // first on phones and words, which is faster
};

// `lattice` is state-level. `phone_starts`: for each transition id, the phone that begins with it
// (its forward transition out of HMM state 0), else 0. Returns a compact lattice, trimmed, with
// `lattice`'s unscaled costs; empty if `lattice` is. `effective_beam`, if not null: the beam that
// was in force at the end, less than options.beam where max_mem was reached.
Lattice DeterminizePhonePruned(const LatticeView& lattice, const std::vector<int32_t>& phone_starts,
                               const DeterminizeOptions& options, double* effective_beam = nullptr);

}  // namespace kdspeech
