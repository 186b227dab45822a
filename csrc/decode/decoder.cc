#include "decode/decoder.h"

#include <algorithm>
#include <atomic>

#include "decode/lattice_determinize.h"
#include "feat/error.h"
#include "feat/parallel.h"

namespace kdspeech {

namespace {

void SearchUtterance(const Loglikes& loglikes, Search* search) {
  if (loglikes.num_frames == 0) throw InputError("no frames");
  search->Start();
  search->Advance(loglikes.data, loglikes.num_frames, loglikes.num_pdfs);
}

Decoded Decode(const Loglikes& loglikes, const DecoderOptions& options, Search* search) {
  try {
    SearchUtterance(loglikes, search);
    return Finish(options, search);
  } catch (const InputError& error) {
    return {{}, {}, {}, error.what()};
  }
}

}  // namespace

Decoded Finish(const DecoderOptions& options, Search* search) {
  Decoded decoded;
  if (!search->Alive()) {
    decoded.problem = "no path is left at frame " + std::to_string(search->NumFrames() - 1);
    return decoded;
  }
  decoded.best = search->Best(true);
  if (options.search.best_only) return decoded;
  search->Finish();
  decoded.lattice = search->RawLattice();
  if (options.phone_starts.empty()) return decoded;
  DeterminizeOptions determinize;
  determinize.acoustic_scale = options.search.acoustic_scale;
  determinize.beam = options.search.lattice_beam;
  decoded.compact =
      DeterminizePhonePruned(decoded.lattice.View(), options.phone_starts, determinize);
  return decoded;
}

std::vector<Decoded> DecodeBatch(std::shared_ptr<const ScoredGraph> graph,
                                 const DecoderOptions& options,
                                 const std::vector<Loglikes>& utterances, int64_t num_threads) {
  std::vector<Decoded> results(utterances.size());
  std::atomic<size_t> next{0};
  const int64_t threads =
      std::max<int64_t>(1, std::min<int64_t>(num_threads, static_cast<int64_t>(results.size())));
  ParallelFor(threads, threads, [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    Search search(graph, options.search);
    for (size_t i = next++; i < results.size(); i = next++) {
      results[i] = Decode(utterances[i], options, &search);
    }
  });
  return results;
}

Alignment Align(std::shared_ptr<const ScoredGraph> graph, SearchOptions options, float retry_beam,
                const Loglikes& loglikes) {
  options.best_only = true;
  Alignment alignment;
  for (const float beam : {options.beam, retry_beam}) {
    if (beam == 0.0f) break;
    alignment.retried = beam != options.beam;
    options.beam = beam;
    Search search(graph, options);
    SearchUtterance(loglikes, &search);
    alignment.path = search.Best(true);
    if (alignment.path.reached_final) return alignment;
    alignment.path = BestPath();
  }
  return alignment;
}

}  // namespace kdspeech
