#include "decode/lattice_chain.h"

#include <algorithm>
#include <cmath>

#include "decode/kernel.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

// Exponentials are taken of so many arcs at once, or those of one state. The value of a PathSum
// grows by less than 2^512 within them, and is taken into its log above kLargest.
constexpr int32_t kBlockArcs = 512;
constexpr double kLargest = 1e100;

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

int32_t MaxTid(const LatticeView& view) {
  int32_t tid = 0;
  if (view.IsCompact()) {
    for (int32_t i = 0; i < view.string_offsets[view.num_strings]; ++i) {
      tid = std::max(tid, view.tids[i]);
    }
  } else {
    for (int32_t i = 0; i < view.NumArcs(); ++i) tid = std::max(tid, view.arcs[i].ilabel);
  }
  return tid;
}

}  // namespace

TimedLattice::TimedLattice(const LatticeView& lattice)
    : view(lattice),
      times(StateTimes(lattice)),
      num_arcs(lattice.NumArcs()),
      num_frames(LongestPath(lattice, times)),
      max_tid(MaxTid(lattice)) {}

LatticeChain::LatticeChain(const TimedLattice& lattice)
    : lattice_(lattice),
      probs_(lattice.NumTransitions(), -kInfinity),
      sums_(lattice.view.num_states) {}

double LatticeChain::LogLikelihood() const { return sums_[0].log + std::log(sums_[0].value); }

void LatticeChain::CheckSum() const {
  if (sums_.empty() || !std::isfinite(LogLikelihood())) {
    throw InputError("lattice: no path to the end, or scores that are no numbers");
  }
}

// The first state of the block that ends before `end`.
int32_t LatticeChain::BlockBegin(int32_t end) const {
  const int32_t* offsets = lattice_.view.offsets;
  int32_t begin = end - 1;
  while (begin > 0 && offsets[end] - offsets[begin - 1] <= kBlockArcs) --begin;
  return begin;
}

void LatticeChain::AddUp(int32_t begin, int32_t end) {
  const int32_t* offsets = lattice_.view.offsets;
  ActiveLatticeKernel().exp(probs_.data() + offsets[begin], offsets[end] - offsets[begin]);
  for (int32_t state = end - 1; state >= begin; --state) AddUp(state);
  for (int32_t state = begin; state < end; ++state) {
    if (sums_[state].value < kLargest) continue;
    sums_[state].log += std::log(sums_[state].value);
    sums_[state].value = 1.0;
  }
}

// Sets the value of the state's sum, and makes weights of arcs probabilities.
void LatticeChain::AddUp(int32_t state) {
  const LatticeView& view = lattice_.view;
  const int32_t begin = view.offsets[state], end = view.offsets[state + 1];
  double& final_prob = probs_[lattice_.num_arcs + state];
  double sum = final_prob = final_prob == -kInfinity ? 0.0 : std::exp(final_prob);
  for (int32_t arc = begin; arc < end; ++arc) {
    sum += probs_[arc] *= sums_[view.arcs[arc].nextstate].value;
  }
  sums_[state].value = sum;
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
