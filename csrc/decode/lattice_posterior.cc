#include "decode/lattice_posterior.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A lattice with the frames of its states. Arcs are numbered as in the lattice; the final cost of
// state s comes after them as arc num_arcs + s, which leads nowhere.
class TimedLattice {
 public:
  explicit TimedLattice(const LatticeView& lattice)
      : view(lattice), times(StateTimes(lattice)), num_arcs(lattice.NumArcs()) {}

  const LatticeView& view;
  const std::vector<int32_t> times;
  const int32_t num_arcs;

  int32_t NumTransitions() const { return num_arcs + view.num_states; }

  // Calls f(frame, tid) for the transition ids of an arc that leaves `state`.
  template <class F>
  void ForFrames(int32_t state, int32_t arc, const F& f) const {
    int32_t frame = times[state];
    if (view.IsCompact()) {
      const int32_t string =
          arc < num_arcs ? view.arcs[arc].ilabel : view.final_strings[arc - num_arcs];
      for (int32_t i = view.string_offsets[string]; i < view.string_offsets[string + 1]; ++i) {
        f(frame++, view.tids[i]);
      }
    } else if (arc < num_arcs && view.arcs[arc].ilabel) {
      f(frame, view.arcs[arc].ilabel);
    }
  }

  // Calls f(state, arc, next) for all arcs and final costs, state by state; next is -1 after a
  // final cost.
  template <class F>
  void ForTransitions(const F& f) const {
    for (int32_t state = 0; state < view.num_states; ++state) {
      if (times[state] < 0) continue;
      for (int32_t arc = view.offsets[state]; arc < view.offsets[state + 1]; ++arc) {
        f(state, arc, view.arcs[arc].nextstate);
      }
      if (IsFinal(view.finals[state])) f(state, num_arcs + state, -1);
    }
  }

  int32_t NumFrames() const {
    int32_t frames = 0;
    ForTransitions([&](int32_t state, int32_t arc, int32_t) {
      ForFrames(state, arc, [&](int32_t frame, int32_t) { frames = std::max(frames, frame + 1); });
    });
    return frames;
  }
};

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

// The lattice as a Markov chain: with the log of what all paths from a state to the end sum up to,
// each arc has a probability given its state, and nothing can overflow, however long the lattice
// is. One exponential for each arc, one logarithm for each state.
class ForwardBackward {
 public:
  // `costs`: of the arcs and final costs.
  ForwardBackward(const TimedLattice& lattice, const std::vector<double>& costs)
      : lattice_(lattice), probs_(lattice.NumTransitions(), 0.0) {
    Backward(costs);
    Forward();
  }

  double LogLikelihood() const { return log_likelihood_; }
  double Occupancy(int32_t state) const { return occupancies_[state]; }
  double Posterior(int32_t state, int32_t arc) const { return occupancies_[state] * probs_[arc]; }

  // Given the accuracies of arcs and final costs, sets them to how much more accurate than the
  // average the paths through each are; returns the average.
  double Differences(std::vector<double>* accuracies) const {
    const int32_t n = lattice_.view.num_states;
    std::vector<double> after(n, 0.0), before(n, 0.0);
    for (int32_t state = n - 1; state >= 0; --state) {
      after[state] = probs_[lattice_.num_arcs + state] * (*accuracies)[lattice_.num_arcs + state];
      for (int32_t arc = lattice_.view.offsets[state]; arc < lattice_.view.offsets[state + 1];
           ++arc) {
        after[state] += probs_[arc] * ((*accuracies)[arc] + after[Next(arc)]);
      }
    }
    lattice_.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
      double& accuracy = (*accuracies)[arc];
      const double until = occupancies_[state] > 0.0 ? before[state] / occupancies_[state] : 0.0;
      if (next >= 0) before[next] += Posterior(state, arc) * (until + accuracy);
      accuracy += until + (next < 0 ? 0.0 : after[next]) - after[0];
    });
    return after[0];
  }

 private:
  int32_t Next(int32_t arc) const { return lattice_.view.arcs[arc].nextstate; }

  void Backward(const std::vector<double>& costs) {
    const LatticeView& view = lattice_.view;
    std::vector<double> beta(view.num_states, -kInfinity);
    for (int32_t state = view.num_states - 1; state >= 0; --state) {
      const int32_t begin = view.offsets[state], end = view.offsets[state + 1];
      const int32_t final_arc = lattice_.num_arcs + state;
      const double final_score = IsFinal(view.finals[state]) ? -costs[final_arc] : -kInfinity;
      double best = final_score;
      for (int32_t arc = begin; arc < end; ++arc) {
        probs_[arc] = beta[Next(arc)] - costs[arc];
        best = std::max(best, probs_[arc]);
      }
      if (best == -kInfinity) {
        std::fill(probs_.begin() + begin, probs_.begin() + end, 0.0);
        continue;
      }
      if (end - begin == 1 && final_score == -kInfinity) {
        beta[state] = best;
        probs_[begin] = 1.0;
        continue;
      }
      double sum = probs_[final_arc] = std::exp(final_score - best);
      for (int32_t arc = begin; arc < end; ++arc) {
        sum += probs_[arc] = std::exp(probs_[arc] - best);
      }
      beta[state] = best + std::log(sum);
      probs_[final_arc] /= sum;
      for (int32_t arc = begin; arc < end; ++arc) probs_[arc] /= sum;
    }
    log_likelihood_ = beta[0];
    if (!std::isfinite(log_likelihood_)) Fail("no path to the end, or scores that are no numbers");
  }

  void Forward() {
    occupancies_.assign(lattice_.view.num_states, 0.0);
    occupancies_[0] = 1.0;
    lattice_.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
      if (next >= 0) occupancies_[next] += Posterior(state, arc);
    });
  }

  const TimedLattice& lattice_;
  std::vector<double> probs_;        // of each arc and final cost, given its state
  std::vector<double> occupancies_;  // the posterior of each state
  double log_likelihood_ = 0.0;
};

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
  const ForwardBackward chain(lattice, costs);
  result.log_likelihood = chain.LogLikelihood() + options.boost * result.num_frames;
  if (options.accuracy != Accuracy::kNone) result.accuracy = chain.Differences(&accuracies);
  lattice.ForTransitions([&](int32_t state, int32_t arc, int32_t) {
    double weight = chain.Posterior(state, arc);
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
  const ForwardBackward chain(lattice, Costs(lattice, {}, {}, scales));
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
