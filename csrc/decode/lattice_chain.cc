#include "decode/lattice_chain.h"

#include <algorithm>
#include <cmath>

#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

int32_t TimedLattice::NumFrames() const {
  int32_t frames = 0;
  for (int32_t state = 0; state < view.num_states; ++state) {
    int32_t end = times[state];
    if (end >= 0 && view.IsCompact() && IsFinal(view.finals[state])) {
      end += view.string_offsets[view.final_strings[state] + 1] -
             view.string_offsets[view.final_strings[state]];
    }
    frames = std::max(frames, end);
  }
  return frames;
}

LatticeChain::LatticeChain(const TimedLattice& lattice, const std::vector<double>& costs)
    : lattice_(lattice), probs_(lattice.NumTransitions(), 0.0) {
  Backward(costs);
  Forward();
}

void LatticeChain::Backward(const std::vector<double>& costs) {
  std::vector<double> beta(lattice_.view.num_states);
  for (int32_t state = lattice_.view.num_states - 1; state >= 0; --state) {
    beta[state] = BackwardOf(state, costs, beta);
  }
  log_likelihood_ = beta.empty() ? -kInfinity : beta[0];
  if (!std::isfinite(log_likelihood_)) {
    throw InputError("lattice: no path to the end, or scores that are no numbers");
  }
}

// The log of what the paths from `state` to the end sum up to; sets the probabilities of its arcs.
double LatticeChain::BackwardOf(int32_t state, const std::vector<double>& costs,
                                const std::vector<double>& beta) {
  const LatticeView& view = lattice_.view;
  const int32_t begin = view.offsets[state], end = view.offsets[state + 1];
  const int32_t final_arc = lattice_.num_arcs + state;
  const double final_score = IsFinal(view.finals[state]) ? -costs[final_arc] : -kInfinity;
  double best = final_score;
  for (int32_t arc = begin; arc < end; ++arc) {
    probs_[arc] = beta[view.arcs[arc].nextstate] - costs[arc];
    best = std::max(best, probs_[arc]);
  }
  if (best == -kInfinity) {
    std::fill(probs_.begin() + begin, probs_.begin() + end, 0.0);
    return best;
  }
  if (end - begin == 1 && final_score == -kInfinity) {
    probs_[begin] = 1.0;
    return best;
  }
  double sum = probs_[final_arc] = std::exp(final_score - best);
  for (int32_t arc = begin; arc < end; ++arc) sum += probs_[arc] = std::exp(probs_[arc] - best);
  probs_[final_arc] /= sum;
  for (int32_t arc = begin; arc < end; ++arc) probs_[arc] /= sum;
  return best + std::log(sum);
}

void LatticeChain::Forward() {
  occupancies_.assign(lattice_.view.num_states, 0.0);
  occupancies_[0] = 1.0;
  lattice_.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    if (next >= 0) occupancies_[next] += Posterior(state, arc);
  });
}

// The expected accuracy of what comes after each state.
std::vector<double> LatticeChain::AccuraciesAfter(const std::vector<double>& accuracies) const {
  const LatticeView& view = lattice_.view;
  std::vector<double> after(view.num_states);
  for (int32_t state = view.num_states - 1; state >= 0; --state) {
    const int32_t final_arc = lattice_.num_arcs + state;
    double sum = probs_[final_arc] * accuracies[final_arc];
    for (int32_t arc = view.offsets[state]; arc < view.offsets[state + 1]; ++arc) {
      sum += probs_[arc] * (accuracies[arc] + after[view.arcs[arc].nextstate]);
    }
    after[state] = sum;
  }
  return after;
}

double LatticeChain::Differences(std::vector<double>* accuracies) const {
  const std::vector<double> after = AccuraciesAfter(*accuracies);
  std::vector<double> before(lattice_.view.num_states, 0.0);  // times the states' posteriors
  lattice_.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
    double& accuracy = (*accuracies)[arc];
    const double until = occupancies_[state] > 0.0 ? before[state] / occupancies_[state] : 0.0;
    if (next >= 0) before[next] += Posterior(state, arc) * (until + accuracy);
    accuracy += until + (next < 0 ? 0.0 : after[next]) - after[0];
  });
  return after[0];
}

}  // namespace kdspeech
