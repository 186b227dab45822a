#include "decode/lattice_chain.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decode/kernel.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Exponentials are taken of so many arcs at once, or those of one state. The value of a PathSum
// grows by less than 2^512 within them, and is taken into its log above kLargest.
constexpr int32_t kBlockArcs = 512;
constexpr double kLargest = 1e100;

// The first state of the block that ends before `end`.
int32_t BlockBegin(const LatticeView& view, int32_t end) {
  int32_t begin = end - 1;
  while (begin > 0 && view.offsets[end] - view.offsets[begin - 1] <= kBlockArcs) --begin;
  return begin;
}

int32_t LongestPath(const LatticeView& view, const std::vector<int32_t>& times) {
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

}  // namespace

TimedLattice::TimedLattice(const LatticeView& lattice)
    : view(lattice),
      times(StateTimes(lattice)),
      num_arcs(lattice.NumArcs()),
      num_frames(LongestPath(lattice, times)) {}

LatticeChain::LatticeChain(const TimedLattice& lattice, std::vector<double> costs)
    : lattice_(lattice), probs_(std::move(costs)) {
  Backward();
}

void LatticeChain::Backward() {
  const LatticeView& view = lattice_.view;
  const LatticeKernel& kernel = ActiveLatticeKernel();
  std::vector<PathSum> sums(view.num_states);
  for (int32_t end = view.num_states; end > 0;) {
    const int32_t begin = BlockBegin(view, end);
    for (int32_t state = end - 1; state >= begin; --state) Compare(state, &sums);
    kernel.exp(probs_.data() + view.offsets[begin], view.offsets[end] - view.offsets[begin]);
    for (int32_t state = end - 1; state >= begin; --state) AddUp(state, &sums);
    for (int32_t state = begin; state < end; ++state) {
      if (sums[state].value < kLargest) continue;
      sums[state].log += std::log(sums[state].value);
      sums[state].value = 1.0;
    }
    end = begin;
  }
  log_likelihood_ = sums.empty() ? -kInfinity : sums[0].log + std::log(sums[0].value);
  if (!std::isfinite(log_likelihood_)) {
    throw InputError("lattice: no path to the end, or scores that are no numbers");
  }
}

// Sets the log of the state's sum, and makes costs of arcs log weights, of which the largest is 0.
void LatticeChain::Compare(int32_t state, std::vector<PathSum>* sums) {
  const LatticeView& view = lattice_.view;
  const int32_t begin = view.offsets[state], end = view.offsets[state + 1];
  double best = IsFinal(view.finals[state]) ? -probs_[lattice_.num_arcs + state] : -kInfinity;
  for (int32_t arc = begin; arc < end; ++arc) {
    probs_[arc] = (*sums)[view.arcs[arc].nextstate].log - probs_[arc];
    best = std::max(best, probs_[arc]);
  }
  (*sums)[state].log = best;
  if (best == -kInfinity) return;  // no path: weights of 0
  for (int32_t arc = begin; arc < end; ++arc) probs_[arc] -= best;
}

// Sets the value of the state's sum, and makes weights of arcs probabilities.
void LatticeChain::AddUp(int32_t state, std::vector<PathSum>* sums) {
  const LatticeView& view = lattice_.view;
  const int32_t begin = view.offsets[state], end = view.offsets[state + 1];
  const double log = (*sums)[state].log;
  double& final_prob = probs_[lattice_.num_arcs + state];
  const bool ends = IsFinal(view.finals[state]) && log != -kInfinity;
  final_prob = ends ? std::exp(-final_prob - log) : 0.0;
  double sum = final_prob;
  for (int32_t arc = begin; arc < end; ++arc) {
    sum += probs_[arc] *= (*sums)[view.arcs[arc].nextstate].value;
  }
  (*sums)[state].value = sum;
  if (sum == 0.0) return;
  const double factor = 1.0 / sum;
  final_prob *= factor;
  for (int32_t arc = begin; arc < end; ++arc) probs_[arc] *= factor;
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

}  // namespace kdspeech
