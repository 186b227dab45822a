#include "decode/lattice_posterior.h"

#include <algorithm>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace {

[[noreturn]] void Fail(const std::string& problem) { throw InputError("lattice: " + problem); }

int32_t Lookup(const std::vector<int32_t>& table, int32_t tid) {
  if (tid <= 0 || tid >= static_cast<int64_t>(table.size())) {
    Fail("transition id " + std::to_string(tid) + " is not in the model (another model's?)");
  }
  return table[tid];
}

// Throws unless the table has pdfs below num_pdfs for all of the lattice's transition ids; they are
// not looked at one by one where it has such for all there are.
void CheckPdfs(const TimedLattice& lattice, const std::vector<int32_t>& table, int64_t num_pdfs) {
  const auto fits = [&](int32_t pdf) { return pdf >= 0 && pdf < num_pdfs; };
  if (lattice.max_tid < static_cast<int64_t>(table.size()) &&
      std::all_of(table.begin() + 1, table.end(), fits)) {
    return;
  }
  lattice.ForTransitions([&](const auto& transition) {
    lattice.ForFrames(transition, [&](int32_t, int32_t tid) {
      const int32_t pdf = Lookup(table, tid);
      if (fits(pdf)) return;
      Fail("pdf " + std::to_string(pdf) + " is not among the " + std::to_string(num_pdfs) +
           " of the scores (another model's?)");
    });
  });
}

void CheckFrames(int64_t lattice_frames, int64_t frames, const char* what) {
  if (frames == lattice_frames) return;
  Fail(std::to_string(lattice_frames) + " frames, but " + what + " of " + std::to_string(frames));
}

// Which transition ids are right in which frame.
class Reference {
 public:
  Reference(const TimedLattice& lattice, const TidTables& tables,
            const std::vector<int32_t>& alignment, const PosteriorOptions& options)
      : tables_(tables),
        labels_(options.accuracy == Accuracy::kSmbr ? tables.pdfs : tables.phones),
        one_silence_class_(options.one_silence_class) {
    if (lattice.max_tid > 0) CheckTid(lattice.max_tid);
    for (const int32_t tid : alignment) {
      CheckTid(tid);
      reference_.push_back({labels_[tid], tables.is_silence[tid] != 0});
    }
  }

  bool Right(int32_t frame, int32_t tid) const {
    const Label right = reference_[frame];
    const bool same = labels_[tid] == right.value, silence = tables_.is_silence[tid];
    return one_silence_class_ ? same || (silence && right.is_silence) : same && !silence;
  }

 private:
  struct Label {
    int32_t value;
    bool is_silence;
  };

  void CheckTid(int32_t tid) const {
    Lookup(labels_, tid);
    Lookup(tables_.phones, tid);
  }

  const TidTables& tables_;
  const std::vector<int32_t>& labels_;
  bool one_silence_class_;
  std::vector<Label> reference_;
};

// The costs of transitions, with scores if there are any. Nothing is checked.
class Costs {
 public:
  Costs(const TimedLattice& lattice, const AcousticScores& scores, const std::vector<int32_t>& pdfs,
        const LatticeScales& scales)
      : lattice_(lattice), scores_(scores), pdfs_(pdfs.data()), scales_(scales) {}

  template <bool compact>
  double Acoustic(const Transition<compact>& transition) const {
    double cost = 0.0;
    lattice_.ForFrames(transition, [&](int32_t frame, int32_t tid) {
      cost -= scores_.loglikes[frame * scores_.num_pdfs + pdfs_[tid]];
    });
    return cost;
  }

  template <bool compact>
  double operator()(const Transition<compact>& transition) const {
    const double acoustic = scores_.loglikes ? Acoustic(transition) : transition.acoustic_cost;
    const double cost = scales_.Cost(transition.graph_cost, acoustic);
    return transition.word ? cost + scales_.word_ins_penalty : cost;
  }

 private:
  const TimedLattice& lattice_;
  const AcousticScores scores_;
  const int32_t* const pdfs_;
  const LatticeScales scales_;
};

void CheckLengths(const TimedLattice& lattice, const AcousticScores& scores,
                  const std::vector<int32_t>* alignment) {
  if (lattice.view.num_states == 0) Fail("empty, it has no path");
  if (scores.loglikes) CheckFrames(lattice.num_frames, scores.num_frames, "scores");
  if (alignment) CheckFrames(lattice.num_frames, alignment->size(), "an alignment");
}

// Everything but the entries, without accuracy: calls add(transition, weight) where there is one.
template <class Add>
LatticePosteriors Plain(const TimedLattice& lattice, const Costs& costs, const Add& add) {
  const LatticeChain chain(lattice, costs);
  double graph_cost = 0.0;
  chain.ForPosteriors([&](const auto& transition, double posterior) {
    graph_cost += posterior * transition.graph_cost;
    if (posterior != 0.0) add(transition, posterior);
  });
  return {chain.LogLikelihood(), 0.0, graph_cost, lattice.num_frames, {}};
}

// The same with accuracy.
template <class Add>
LatticePosteriors WithAccuracy(const TimedLattice& lattice, const Costs& costs,
                               const Reference& reference, double boost, const Add& add) {
  std::vector<double> accuracies(lattice.NumTransitions(), 0.0);
  const LatticeChain chain(lattice, [&](const auto& transition) {
    int32_t right = 0;
    lattice.ForFrames(transition,
                      [&](int32_t frame, int32_t tid) { right += reference.Right(frame, tid); });
    accuracies[transition.number] = right;
    // Wrong frames are frames less right ones; the frames of all paths are as many.
    return costs(transition) + boost * right;
  });
  double graph_cost = 0.0;
  const auto visit = [&](const auto& transition, double posterior, double difference) {
    graph_cost += posterior * transition.graph_cost;
    const double weight = boost == 0.0 ? difference : posterior;
    if (weight != 0.0) add(transition, weight);
  };
  const double accuracy = chain.ForDifferences(accuracies, visit);
  return {chain.LogLikelihood() + boost * lattice.num_frames,
          accuracy,
          graph_cost,
          lattice.num_frames,
          {}};
}

template <class Add>
LatticePosteriors Run(const TimedLattice& lattice, const AcousticScores& scores,
                      const TidTables& tables, const std::vector<int32_t>* alignment,
                      const PosteriorOptions& options, const Add& add) {
  const Costs costs(lattice, scores, tables.pdfs, options.scales);
  if (options.accuracy == Accuracy::kNone) return Plain(lattice, costs, add);
  const Reference reference(lattice, tables, *alignment, options);
  return WithAccuracy(lattice, costs, reference, options.boost, add);
}

// Both scores and gradient must have the pdfs.
void CheckGradient(const TimedLattice& lattice, const std::vector<int32_t>& table,
                   const AcousticScores& scores, const Gradient& gradient) {
  CheckFrames(lattice.num_frames, gradient.num_frames, "a gradient");
  const int64_t num_pdfs = scores.loglikes ? scores.num_pdfs : gradient.num_pdfs;
  CheckPdfs(lattice, table, std::min(num_pdfs, gradient.num_pdfs));
}

// Adds a transition's weight.
template <bool compact>
void AddWeight(const TimedLattice& lattice, const std::vector<int32_t>& pdfs,
               const Transition<compact>& transition, double weight, const Gradient& gradient) {
  const float value = static_cast<float>(gradient.factor * weight);
  lattice.ForFrames(transition, [&](int32_t frame, int32_t tid) {
    gradient.data[frame * gradient.num_pdfs + pdfs[tid]] += value;
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
  if (scores.loglikes) CheckPdfs(lattice, tables.pdfs, scores.num_pdfs);
  std::vector<PosteriorEntry> entries;
  const auto add = [&](const auto& transition, double weight) {
    lattice.ForFrames(transition, [&](int32_t frame, int32_t tid) {
      entries.push_back({frame, tid, static_cast<float>(weight)});
    });
  };
  LatticePosteriors result = Run(lattice, scores, tables, alignment, options, add);
  result.entries = Merge(entries, result.num_frames);
  return result;
}

LatticePosteriors AccumulatePosteriors(const TimedLattice& lattice, const AcousticScores& scores,
                                       const TidTables& tables,
                                       const std::vector<int32_t>* alignment,
                                       const PosteriorOptions& options, const Gradient& gradient) {
  CheckLengths(lattice, scores, alignment);
  CheckGradient(lattice, tables.pdfs, scores, gradient);
  const auto add = [&](const auto& transition, double weight) {
    AddWeight(lattice, tables.pdfs, transition, weight, gradient);
  };
  return Run(lattice, scores, tables, alignment, options, add);
}

double AccumulateDistillation(const TimedLattice& lattice, const AcousticScores& scores,
                              const LatticeScales& scales, const std::vector<Teacher>& teachers,
                              const LatticeScales& teacher_scales, const TidTables& tables,
                              const Gradient& gradient) {
  CheckLengths(lattice, scores, nullptr);
  CheckGradient(lattice, tables.pdfs, scores, gradient);
  std::vector<double> targets(lattice.NumTransitions(), 0.0);
  for (const Teacher& teacher : teachers) {
    CheckLengths(lattice, teacher.scores, nullptr);
    CheckPdfs(lattice, tables.pdfs, teacher.scores.num_pdfs);
    const LatticeChain chain(lattice, Costs(lattice, teacher.scores, tables.pdfs, teacher_scales));
    chain.ForPosteriors([&](const auto& transition, double posterior) {
      targets[transition.number] += teacher.weight * posterior;
    });
  }
  const Costs costs(lattice, scores, tables.pdfs, scales);
  double expected_cost = 0.0;
  const LatticeChain chain(lattice, [&](const auto& transition) {
    const double cost = costs(transition), target = targets[transition.number];
    if (target > 0.0) expected_cost += target * cost;
    return cost;
  });
  chain.ForPosteriors([&](const auto& transition, double posterior) {
    const double weight = targets[transition.number] - posterior;
    AddWeight(lattice, tables.pdfs, transition, weight, gradient);
  });
  return -expected_cost - chain.LogLikelihood();
}

std::vector<double> ArcPosteriors(const TimedLattice& lattice, const LatticeScales& scales) {
  if (lattice.view.num_states == 0) return {};
  std::vector<double> posteriors(lattice.num_arcs, 0.0);
  const LatticeChain chain(lattice, Costs(lattice, {}, {}, scales));
  chain.ForPosteriors([&](const auto& transition, double posterior) {
    if (transition.next >= 0) posteriors[transition.number] = posterior;
  });
  return posteriors;
}

void ScoreAcoustics(const TimedLattice& lattice, const AcousticScores& scores,
                    const std::vector<int32_t>& tid_to_pdf, float* arc_costs, float* final_costs) {
  CheckFrames(lattice.num_frames, scores.num_frames, "scores");
  CheckPdfs(lattice, tid_to_pdf, scores.num_pdfs);
  const Costs costs(lattice, scores, tid_to_pdf, {});
  lattice.ForTransitions([&](const auto& transition) {
    const bool is_final = transition.next < 0;
    float& cost = is_final ? final_costs[transition.state] : arc_costs[transition.number];
    cost = static_cast<float>(costs.Acoustic(transition));
  });
}

}  // namespace kdspeech
