// Word alignment: lattices whose arcs are whole words, with the frames that belong to them.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// Where in words a phone stands: the kinds of Kaldi's word_boundary.int.
enum class WordPosition : char { kUnknown, kNonword, kBegin, kEnd, kInternal, kSingleton };

struct WordAlignOptions {
  std::vector<int32_t> tid_to_phone;         // by transition id
  std::vector<char> is_final, is_self_loop;  // by transition id
  std::vector<WordPosition> positions;       // by phone
  bool reorder = true;  // self-loops come after the transition out of their state, as in Kaldi
};

// The same paths, cut into arcs at the ends of words and of silences, which have arcs of their own
// without a word (Kaldi's lattice-align-words). `lattice` is compact. What a path that was cut off
// leaves over at its end makes an arc too. Throws InputError for transition ids or phones that
// `options` does not know.
Lattice AlignWords(const LatticeView& lattice, const WordAlignOptions& options);

}  // namespace kdspeech
