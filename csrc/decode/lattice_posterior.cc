#include "decode/lattice_posterior.h"

#include <algorithm>
#include <string>
#include <utility>

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

// The pdf of each of the lattice's transition ids, by its number; -1 where there is none.
std::vector<int32_t> Pdfs(const TimedLattice& lattice, const std::vector<int32_t>& table,
                          int64_t num_pdfs) {
  std::vector<int32_t> pdfs(lattice.NumTids(), -1);
  for (int32_t i = 0; i < lattice.NumTids(); ++i) {
    if (lattice.Tid(i) == 0) continue;
    pdfs[i] = Lookup(table, lattice.Tid(i));
    if (pdfs[i] >= 0 && pdfs[i] < num_pdfs) continue;
    Fail("pdf " + std::to_string(pdfs[i]) + " is not among the " + std::to_string(num_pdfs) +
         " of the scores (another model's?)");
  }
  return pdfs;
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
    for (const int32_t tid : alignment) reference_.push_back(LabelOf(tid));
  }

  bool Right(int32_t frame, int32_t tid) const {
    const Label label = LabelOf(tid), right = reference_[frame];
    const bool same = label.value == right.value;
    return one_silence_class_ ? same || (label.is_silence && right.is_silence)
                              : same && !label.is_silence;
  }

 private:
  struct Label {
    int32_t value;
    bool is_silence;
  };
  Label LabelOf(int32_t tid) const {
    Lookup(tables_.phones, tid);
    return {Lookup(labels_, tid), tables_.is_silence[tid] != 0};
  }

  const TidTables& tables_;
  const std::vector<int32_t>& labels_;
  bool one_silence_class_;
  std::vector<Label> reference_;
};

// The score of the arcs' transition ids.
double AcousticCost(const TimedLattice& lattice, const AcousticScores& scores,
                    const std::vector<int32_t>& pdfs, int32_t state, int32_t arc) {
  double cost = 0.0;
  lattice.ForFrames(state, arc, [&](int32_t frame, int32_t number) {
    cost -= scores.loglikes[frame * scores.num_pdfs + pdfs[number]];
  });
  return cost;
}

// `pdfs`: needed with scores.
std::vector<double> Costs(const TimedLattice& lattice, const AcousticScores& scores,
                          const std::vector<int32_t>& pdfs, const LatticeScales& scales) {
  std::vector<double> costs(lattice.NumTransitions(), kInfinity);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    const LatticeCost& final_cost = lattice.view.finals[state];
    double acoustic = next < 0 ? final_cost.acoustic_cost : lattice.view.arcs[arc].acoustic_cost;
    if (scores.loglikes) acoustic = AcousticCost(lattice, scores, pdfs, state, arc);
    const double graph = next < 0 ? final_cost.graph_cost : lattice.view.arcs[arc].graph_cost;
    const bool is_word = next >= 0 && lattice.view.arcs[arc].olabel;
    costs[arc] = scales.Cost(graph, acoustic) + (is_word ? scales.word_ins_penalty : 0.0);
  });
  return costs;
}

std::vector<double> Accuracies(const TimedLattice& lattice, const Reference& reference) {
  std::vector<double> accuracies(lattice.NumTransitions(), 0.0);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t) {
    lattice.ForFrames(state, arc, [&](int32_t frame, int32_t number) {
      accuracies[arc] += reference.Right(frame, lattice.Tid(number));
    });
  });
  return accuracies;
}

void CheckLengths(const TimedLattice& lattice, const AcousticScores& scores,
                  const std::vector<int32_t>* alignment) {
  if (lattice.view.num_states == 0) Fail("empty, it has no path");
  if (scores.loglikes) CheckFrames(lattice.num_frames, scores.num_frames, "scores");
  if (alignment) CheckFrames(lattice.num_frames, alignment->size(), "an alignment");
}

// Everything but the entries: calls add(state, arc, weight) for each arc that has one.
// `pdfs`: needed with scores.
template <class Add>
LatticePosteriors Run(const TimedLattice& lattice, const AcousticScores& scores,
                      const std::vector<int32_t>& pdfs, const TidTables& tables,
                      const std::vector<int32_t>* alignment, const PosteriorOptions& options,
                      const Add& add) {
  const LatticeView& view = lattice.view;
  LatticePosteriors result;
  result.num_frames = lattice.num_frames;
  std::vector<double> costs = Costs(lattice, scores, pdfs, options.scales), accuracies;
  const bool has_accuracy = options.accuracy != Accuracy::kNone;
  const bool is_risk = has_accuracy && options.boost == 0.0;
  if (has_accuracy) accuracies = Accuracies(lattice, Reference(tables, *alignment, options));
  if (has_accuracy && options.boost != 0.0) {
    // Wrong frames are frames less right ones; the frames of all paths are as many.
    for (size_t i = 0; i < costs.size(); ++i) costs[i] += options.boost * accuracies[i];
  }
  const LatticeChain chain(lattice, std::move(costs));
  result.log_likelihood = chain.LogLikelihood() + options.boost * result.num_frames;
  const auto visit = [&](int32_t state, int32_t arc, int32_t next, double posterior,
                         double difference) {
    if (posterior == 0.0) return;
    const double graph = next < 0 ? view.finals[state].graph_cost : view.arcs[arc].graph_cost;
    result.graph_cost += posterior * graph;
    const double weight = is_risk ? difference : posterior;
    if (weight != 0.0) add(state, arc, weight);
  };
  if (has_accuracy) {
    result.accuracy = chain.ForDifferences(accuracies, visit);
  } else {
    chain.ForPosteriors([&](int32_t state, int32_t arc, int32_t next, double posterior) {
      visit(state, arc, next, posterior, 0.0);
    });
  }
  return result;
}

// The pdfs, which both scores and gradient must have.
std::vector<int32_t> Pdfs(const TimedLattice& lattice, const std::vector<int32_t>& table,
                          const AcousticScores& scores, const Gradient& gradient) {
  CheckFrames(lattice.num_frames, gradient.num_frames, "a gradient");
  const int64_t num_pdfs = scores.loglikes ? scores.num_pdfs : gradient.num_pdfs;
  return Pdfs(lattice, table, std::min(num_pdfs, gradient.num_pdfs));
}

void AddWeight(const TimedLattice& lattice, const std::vector<int32_t>& pdfs, int32_t state,
               int32_t arc, double weight, const Gradient& gradient) {
  const float value = static_cast<float>(gradient.factor * weight);
  lattice.ForFrames(state, arc, [&](int32_t frame, int32_t number) {
    gradient.data[frame * gradient.num_pdfs + pdfs[number]] += value;
  });
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

LatticePosteriors ComputePosteriors(const TimedLattice& lattice, const AcousticScores& scores,
                                    const TidTables& tables, const std::vector<int32_t>* alignment,
                                    const PosteriorOptions& options) {
  CheckLengths(lattice, scores, alignment);
  std::vector<int32_t> pdfs;
  if (scores.loglikes) pdfs = Pdfs(lattice, tables.pdfs, scores.num_pdfs);
  std::vector<PosteriorEntry> entries;
  const auto add = [&](int32_t state, int32_t arc, double weight) {
    lattice.ForFrames(state, arc, [&](int32_t frame, int32_t number) {
      entries.push_back({frame, lattice.Tid(number), static_cast<float>(weight)});
    });
  };
  LatticePosteriors result = Run(lattice, scores, pdfs, tables, alignment, options, add);
  result.entries = Merge(entries, result.num_frames);
  return result;
}

LatticePosteriors AccumulatePosteriors(const TimedLattice& lattice, const AcousticScores& scores,
                                       const TidTables& tables,
                                       const std::vector<int32_t>* alignment,
                                       const PosteriorOptions& options, const Gradient& gradient) {
  CheckLengths(lattice, scores, alignment);
  const std::vector<int32_t> pdfs = Pdfs(lattice, tables.pdfs, scores, gradient);
  const auto add = [&](int32_t state, int32_t arc, double weight) {
    AddWeight(lattice, pdfs, state, arc, weight, gradient);
  };
  return Run(lattice, scores, pdfs, tables, alignment, options, add);
}

double AccumulateDistillation(const TimedLattice& lattice, const AcousticScores& scores,
                              const LatticeScales& scales, const std::vector<Teacher>& teachers,
                              const LatticeScales& teacher_scales, const TidTables& tables,
                              const Gradient& gradient) {
  CheckLengths(lattice, scores, nullptr);
  const std::vector<int32_t> pdfs = Pdfs(lattice, tables.pdfs, scores, gradient);
  std::vector<double> targets(lattice.NumTransitions(), 0.0);
  for (const Teacher& teacher : teachers) {
    CheckLengths(lattice, teacher.scores, nullptr);
    const LatticeChain chain(lattice, Costs(lattice, teacher.scores, pdfs, teacher_scales));
    chain.ForPosteriors([&](int32_t, int32_t arc, int32_t, double posterior) {
      targets[arc] += teacher.weight * posterior;
    });
  }
  const std::vector<double> costs = Costs(lattice, scores, pdfs, scales);
  const LatticeChain chain(lattice, costs);
  double expectation = -chain.LogLikelihood();
  chain.ForPosteriors([&](int32_t state, int32_t arc, int32_t, double posterior) {
    if (targets[arc] > 0.0) expectation -= targets[arc] * costs[arc];
    AddWeight(lattice, pdfs, state, arc, targets[arc] - posterior, gradient);
  });
  return expectation;
}

std::vector<double> ArcPosteriors(const TimedLattice& lattice, const LatticeScales& scales) {
  if (lattice.view.num_states == 0) return {};
  const LatticeChain chain(lattice, Costs(lattice, {}, {}, scales));
  std::vector<double> posteriors(lattice.num_arcs, 0.0);
  chain.ForPosteriors([&](int32_t, int32_t arc, int32_t next, double posterior) {
    if (next >= 0) posteriors[arc] = posterior;
  });
  return posteriors;
}

void ScoreAcoustics(const TimedLattice& lattice, const AcousticScores& scores,
                    const std::vector<int32_t>& tid_to_pdf, float* arc_costs, float* final_costs) {
  CheckFrames(lattice.num_frames, scores.num_frames, "scores");
  const std::vector<int32_t> pdfs = Pdfs(lattice, tid_to_pdf, scores.num_pdfs);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    const double cost = AcousticCost(lattice, scores, pdfs, state, arc);
    (next < 0 ? final_costs[state] : arc_costs[arc]) = static_cast<float>(cost);
  });
}

}  // namespace kdspeech
