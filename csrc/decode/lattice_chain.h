// The forward-backward algorithm on a lattice.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// A lattice with the frames of its states. Arcs are numbered as in the lattice; the final cost of
// state s comes after them as arc num_arcs + s, which leads nowhere. Throws as StateTimes.
class TimedLattice {
 public:
  explicit TimedLattice(const LatticeView& lattice)
      : view(lattice), times(StateTimes(lattice)), num_arcs(lattice.NumArcs()) {}

  const LatticeView view;
  const std::vector<int32_t> times;
  const int32_t num_arcs;

  int32_t NumTransitions() const { return num_arcs + view.num_states; }
  int32_t NumFrames() const;  // of the longest path

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

  // Calls f(state, arc, next) for all arcs and final costs of states that something leads to, state
  // by state; next is -1 after a final cost.
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
};

// The lattice as a Markov chain: given the log of what all paths from each state to the end sum up
// to, an arc has a probability given the state it leaves, and nothing overflows, however long the
// lattice is. It takes one exponential for each arc and one logarithm for each state.
class LatticeChain {
 public:
  // `costs`: of the arcs and final costs. Keeps a reference to the lattice. Throws InputError where
  // there is no path, or costs are no numbers.
  LatticeChain(const TimedLattice& lattice, const std::vector<double>& costs);

  double LogLikelihood() const { return log_likelihood_; }
  double Posterior(int32_t state, int32_t arc) const { return occupancies_[state] * probs_[arc]; }

  // From the accuracies of arcs and final costs makes how much more accurate than the average the
  // paths through each are; returns the average.
  double Differences(std::vector<double>* accuracies) const;

 private:
  void Backward(const std::vector<double>& costs);
  double BackwardOf(int32_t state, const std::vector<double>& costs,
                    const std::vector<double>& beta);
  void Forward();
  std::vector<double> AccuraciesAfter(const std::vector<double>& accuracies) const;

  const TimedLattice& lattice_;
  std::vector<double> probs_;        // of each arc and final cost, given its state
  std::vector<double> occupancies_;  // the posterior of each state
  double log_likelihood_ = 0.0;
};

}  // namespace kdspeech
