// Removal of those epsilon arcs that go without making a transducer larger.
#pragma once

#include "graph/fst.h"

namespace kdspeech {

// Joins arcs with the arcs after them where together they have at most one input and one output
// label, and where the state between has a single arc in, or a single arc (or end) out: Kaldi's
// fstrmepslocal. Where some arcs behind an arc have gone, its cost and those of the others change
// so that they add up in the log semiring as before. States that can no longer be reached stay.
//
// Throws InputError unless offsets, states and labels make a transducer, and when it has a cycle of
// epsilon arcs.
Fst RemoveEpsilonsLocally(Fst fst);

}  // namespace kdspeech
