#include "decode/lattice_posterior.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "decode/lattice_chain.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

[[noreturn]] void Fail(const std::string& problem) { throw InputError("lattice: " + problem); }

int32_t Lookup(const std::vector<int32_t>& table, int32_t tid) {
  if (tid <= 0 || tid >= static_cast<int64_t>(table.size())) {
    Fail("transition id " + std::to_string(tid) + " is not in the model (another model's?)");
  }
  return table[tid];
}

int32_t LookupPdf(const std::vector<int32_t>& table, int32_t tid, int64_t num_pdfs) {
  const int32_t pdf = Lookup(table, tid);
  if (pdf < 0 || pdf >= num_pdfs) {
    Fail("pdf " + std::to_string(pdf) + " is not among the " + std::to_string(num_pdfs) +
         " of the scores (another model's?)");
  }
  return pdf;
}

void CheckFrames(int64_t lattice_frames, int64_t frames, const char* what) {
  if (frames == lattice_frames) return;
  Fail(std::to_string(lattice_frames) + " frames, but " + what + " of " + std::to_string(frames));
}

// Which transition ids are right in which frame.
class Reference {
 public:
  Reference(const TidTables& tables, const std::vector<int32_t>& alignment,
            const PosteriorOptions& options)
      : tables_(tables),
        labels_(options.accuracy == Accuracy::kSmbr ? tables.pdfs : tables.phones),
        one_silence_class_(options.one_silence_class) {
    for (const int32_t tid : alignment) {
      reference_.push_back(Lookup(labels_, tid));
      silence_.push_back(IsSilence(tid));
    }
  }

  double Right(int32_t frame, int32_t tid) const {
    const bool same = Lookup(labels_, tid) == reference_[frame], silence = IsSilence(tid);
    return one_silence_class_ ? same || (silence && silence_[frame]) : same && !silence;
  }

 private:
  bool IsSilence(int32_t tid) const {
    const int32_t phone = Lookup(tables_.phones, tid);
    return phone >= 0 && phone < static_cast<int64_t>(tables_.is_silence.size()) &&
           tables_.is_silence[phone];
  }

  const TidTables& tables_;
  const std::vector<int32_t>& labels_;
  bool one_silence_class_;
  std::vector<int32_t> reference_;
  std::vector<bool> silence_;
};

// The score of the arcs' transition ids.
double AcousticCost(const TimedLattice& lattice, const AcousticScores& scores,
                    const std::vector<int32_t>& tid_to_pdf, int32_t state, int32_t arc) {
  double cost = 0.0;
  lattice.ForFrames(state, arc, [&](int32_t frame, int32_t tid) {
    cost -= scores.loglikes[frame * scores.num_pdfs + LookupPdf(tid_to_pdf, tid, scores.num_pdfs)];
  });
  return cost;
}

std::vector<double> Costs(const TimedLattice& lattice, const AcousticScores& scores,
                          const TidTables& tables, const LatticeScales& scales) {
  std::vector<double> costs(lattice.NumTransitions(), kInfinity);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    const LatticeCost& final_cost = lattice.view.finals[state];
    double acoustic = next < 0 ? final_cost.acoustic_cost : lattice.view.arcs[arc].acoustic_cost;
    if (scores.loglikes) acoustic = AcousticCost(lattice, scores, tables.pdfs, state, arc);
    const double graph = next < 0 ? final_cost.graph_cost : lattice.view.arcs[arc].graph_cost;
    const bool is_word = next >= 0 && lattice.view.arcs[arc].olabel;
    costs[arc] = scales.Cost(graph, acoustic) + (is_word ? scales.word_ins_penalty : 0.0);
  });
  return costs;
}

std::vector<double> Accuracies(const TimedLattice& lattice, const Reference& reference) {
  std::vector<double> accuracies(lattice.NumTransitions(), 0.0);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t) {
    lattice.ForFrames(state, arc, [&](int32_t frame, int32_t tid) {
      accuracies[arc] += reference.Right(frame, tid);
    });
  });
  return accuracies;
}

// Everything but the entries: calls add(frame, tid, weight) for each transition id of each arc.
// `gradient_frames`: the rows of what is added to, or -1.
template <class Add>
LatticePosteriors Run(const LatticeView& view, const AcousticScores& scores,
                      const TidTables& tables, const std::vector<int32_t>* alignment,
                      const PosteriorOptions& options, int64_t gradient_frames, const Add& add) {
  if (view.num_states == 0) Fail("empty, it has no path");
  const TimedLattice lattice(view);
  LatticePosteriors result;
  result.num_frames = lattice.NumFrames();
  if (scores.loglikes) CheckFrames(result.num_frames, scores.num_frames, "scores");
  if (gradient_frames >= 0) CheckFrames(result.num_frames, gradient_frames, "a gradient");
  if (alignment) CheckFrames(result.num_frames, alignment->size(), "an alignment");
  std::vector<double> costs = Costs(lattice, scores, tables, options.scales), accuracies;
  const bool is_risk = options.accuracy != Accuracy::kNone && options.boost == 0.0;
  if (options.accuracy != Accuracy::kNone) {
    accuracies = Accuracies(lattice, Reference(tables, *alignment, options));
    // Wrong frames are frames less right ones; the frames of all paths are as many.
    for (size_t i = 0; i < costs.size(); ++i) costs[i] += options.boost * accuracies[i];
  }
  const LatticeChain chain(lattice, costs);
  result.log_likelihood = chain.LogLikelihood() + options.boost * result.num_frames;
  if (options.accuracy != Accuracy::kNone) result.accuracy = chain.Differences(&accuracies);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    double weight = chain.Posterior(state, arc);
    if (weight == 0.0) return;
    const double graph = next < 0 ? view.finals[state].graph_cost : view.arcs[arc].graph_cost;
    result.graph_cost += weight * graph;
    if (is_risk) weight *= accuracies[arc];
    if (weight == 0.0) return;
    lattice.ForFrames(state, arc, [&](int32_t frame, int32_t tid) { add(frame, tid, weight); });
  });
  return result;
}

// Sorts by frame, by counting.
std::vector<PosteriorEntry> SortByFrame(const std::vector<PosteriorEntry>& entries,
                                        int32_t num_frames) {
  std::vector<size_t> next(num_frames + 1, 0);
  for (const PosteriorEntry& entry : entries) ++next[entry.frame + 1];
  for (int32_t frame = 0; frame < num_frames; ++frame) next[frame + 1] += next[frame];
  std::vector<PosteriorEntry> sorted(entries.size());
  for (const PosteriorEntry& entry : entries) sorted[next[entry.frame]++] = entry;
  return sorted;
}

// Sorts by frame and transition id and sums up what is of the same.
std::vector<PosteriorEntry> Merge(const std::vector<PosteriorEntry>& entries, int32_t num_frames) {
  std::vector<PosteriorEntry> sorted = SortByFrame(entries, num_frames), merged;
  for (auto begin = sorted.begin(), end = begin; begin != sorted.end(); begin = end) {
    while (end != sorted.end() && end->frame == begin->frame) ++end;
    std::sort(begin, end, [](const auto& a, const auto& b) { return a.tid < b.tid; });
    while (begin != end) {
      const PosteriorEntry first = *begin;
      double weight = 0.0;
      for (; begin != end && begin->tid == first.tid; ++begin) weight += begin->weight;
      if (weight != 0.0) merged.push_back({first.frame, first.tid, static_cast<float>(weight)});
    }
  }
  return merged;
}

}  // namespace

LatticePosteriors ComputePosteriors(const LatticeView& lattice, const AcousticScores& scores,
                                    const TidTables& tables, const std::vector<int32_t>* alignment,
                                    const PosteriorOptions& options) {
  std::vector<PosteriorEntry> entries;
  LatticePosteriors result = Run(lattice, scores, tables, alignment, options, -1,
                                 [&](int32_t frame, int32_t tid, double weight) {
                                   entries.push_back({frame, tid, static_cast<float>(weight)});
                                 });
  result.entries = Merge(entries, result.num_frames);
  return result;
}

LatticePosteriors AccumulatePosteriors(const LatticeView& lattice, const AcousticScores& scores,
                                       const TidTables& tables,
                                       const std::vector<int32_t>* alignment,
                                       const PosteriorOptions& options, int64_t num_frames,
                                       int64_t num_pdfs, float* gradient) {
  return Run(lattice, scores, tables, alignment, options, num_frames,
             [&](int32_t frame, int32_t tid, double weight) {
               const int32_t pdf = LookupPdf(tables.pdfs, tid, num_pdfs);
               gradient[frame * num_pdfs + pdf] += static_cast<float>(weight);
             });
}

std::vector<double> ArcPosteriors(const LatticeView& view, const LatticeScales& scales) {
  if (view.num_states == 0) return {};
  const TimedLattice lattice(view);
  const LatticeChain chain(lattice, Costs(lattice, {}, {}, scales));
  std::vector<double> posteriors(lattice.num_arcs, 0.0);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    if (next >= 0) posteriors[arc] = chain.Posterior(state, arc);
  });
  return posteriors;
}

int32_t NumFrames(const LatticeView& lattice) { return TimedLattice(lattice).NumFrames(); }

void ScoreAcoustics(const LatticeView& view, const AcousticScores& scores,
                    const std::vector<int32_t>& tid_to_pdf, float* arc_costs, float* final_costs) {
  const TimedLattice lattice(view);
  CheckFrames(lattice.NumFrames(), scores.num_frames, "scores");
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    const double cost = AcousticCost(lattice, scores, tid_to_pdf, state, arc);
    (next < 0 ? final_costs[state] : arc_costs[arc]) = static_cast<float>(cost);
  });
}

}  // namespace kdspeech
