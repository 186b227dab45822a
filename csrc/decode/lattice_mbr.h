// Minimum Bayes risk decoding of lattices, and confidences: the word sequence of the lowest
// expected edit distance (Xu, Povey, Mangu and Zhu, "Minimum Bayes risk decoding and system
// combination based on a recursion for edit distance", Computer Speech and Language 25, 2011).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "decode/lattice.h"
#include "decode/lattice_path.h"

namespace kdspeech {

// One place of the hypothesis or between its words: which words (0: none) are there, the most
// probable first, with their posteriors; times in frames, averaged.
struct SausageBin {
  std::vector<std::pair<int32_t, float>> words;
  double begin = 0.0, end = 0.0;
};

struct MbrResult {
  std::vector<int32_t> words;
  std::vector<float> confidences;
  std::vector<double> begins, ends;  // of each word, in frames
  double bayes_risk = 0.0;           // expected edit distance
  std::vector<SausageBin> sausage;
};

// With `decode_mbr` false the hypothesis stays the best path's words: for their confidences. An
// empty lattice gives an empty result.
MbrResult MbrDecode(const LatticeView& lattice, const LatticeScales& scales, bool decode_mbr);

}  // namespace kdspeech
