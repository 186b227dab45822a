// Decoding and alignment of whole utterances.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "decode/search.h"

namespace kdspeech {

// The log-likelihoods of an utterance: rows of num_pdfs values.
struct Loglikes {
  const float* data;
  int64_t num_frames, num_pdfs;
};

struct Decoded {
  BestPath best;
  Lattice lattice;      // state-level; empty with best_only
  Lattice compact;      // determinized, where that was asked for
  std::string problem;  // why there is nothing; empty if there is something
};

struct DecoderOptions {
  SearchOptions search;
  // As DeterminizePhonePruned takes them; empty: no determinization.
  std::vector<int32_t> phone_starts;
};

// What the search has found, which ends the utterance.
Decoded Finish(const DecoderOptions& options, Search* search);

// Decodes utterances on `num_threads` threads, each taking the next one when it is free. Bad input
// is told in Decoded::problem.
std::vector<Decoded> DecodeBatch(std::shared_ptr<const ScoredGraph> graph,
                                 const DecoderOptions& options,
                                 const std::vector<Loglikes>& utterances, int64_t num_threads);

struct Alignment {
  BestPath path;  // path.tids is empty where the alignment failed
  bool retried = false;
};

// The best complete path of the utterance, searched with `options`, and if none is found with
// `retry_beam` (0: not). Throws InputError for bad log-likelihoods.
Alignment Align(std::shared_ptr<const ScoredGraph> graph, SearchOptions options, float retry_beam,
                const Loglikes& loglikes);

}  // namespace kdspeech
