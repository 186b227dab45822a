// The forward-backward algorithm on a lattice.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// A lattice with the frames of its states. Arcs are numbered as in the lattice; the final cost of
// state s comes after them as arc num_arcs + s, which leads nowhere. Transition ids are numbered
// as the arcs that carry them, in a compact lattice by their place in `tids`.
class TimedLattice {
 public:
  explicit TimedLattice(const LatticeView& lattice);  // throws as StateTimes

  const LatticeView view;
  const std::vector<int32_t> times;
  const int32_t num_arcs;
  const int32_t num_frames;  // of the longest path

  int32_t NumTransitions() const { return num_arcs + view.num_states; }
  int32_t NumTids() const {
    return view.IsCompact() ? view.string_offsets[view.num_strings] : num_arcs;
  }
  // The transition id of this number; 0 where an arc has none.
  int32_t Tid(int32_t number) const {
    return view.IsCompact() ? view.tids[number] : view.arcs[number].ilabel;
  }

  // Calls f(frame, number) for the transition ids of an arc that leaves `state`.
  template <class F>
  void ForFrames(int32_t state, int32_t arc, const F& f) const {
    int32_t frame = times[state];
    if (view.IsCompact()) {
      const int32_t string =
          arc < num_arcs ? view.arcs[arc].ilabel : view.final_strings[arc - num_arcs];
      for (int32_t i = view.string_offsets[string]; i < view.string_offsets[string + 1]; ++i) {
        f(frame++, i);
      }
    } else if (arc < num_arcs && view.arcs[arc].ilabel) {
      f(frame, arc);
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

// The lattice as a Markov chain: given what all paths from each state to the end sum up to, an arc
// has a probability given the state it leaves, and nothing overflows, however long the lattice is.
class LatticeChain {
 public:
  // `costs`: of the arcs and final costs. Keeps a reference to the lattice. Throws InputError where
  // there is no path, or costs are no numbers.
  LatticeChain(const TimedLattice& lattice, std::vector<double> costs);

  double LogLikelihood() const { return log_likelihood_; }

  // Calls f(state, arc, next, posterior) for what ForTransitions calls its function for.
  template <class F>
  void ForPosteriors(const F& f) const {
    std::vector<double> occupancies(lattice_.view.num_states, 0.0);
    occupancies[0] = 1.0;
    lattice_.ForTransitions([&](int32_t state, int32_t arc, int32_t next) {
      const double posterior = occupancies[state] * probs_[arc];
      if (next >= 0) occupancies[next] += posterior;
      f(state, arc, next, posterior);
    });
  }

  // The same with f(state, arc, next, posterior, difference): the posterior times how much more
  // accurate than the average the paths through the arc are. `accuracies`: of the arcs and final
  // costs. Returns the average.
  template <class F>
  double ForDifferences(const std::vector<double>& accuracies, const F& f) const {
    const std::vector<double> after = AccuraciesAfter(accuracies);
    std::vector<double> before(lattice_.view.num_states, 0.0);  // times the states' posteriors
    ForPosteriors([&](int32_t state, int32_t arc, int32_t next, double posterior) {
      const double until = probs_[arc] * before[state] + posterior * accuracies[arc];
      if (next >= 0) before[next] += until;
      const double rest = next < 0 ? 0.0 : after[next];
      f(state, arc, next, posterior, until + posterior * (rest - after[0]));
    });
    return after[0];
  }

 private:
  // The sum over the paths from a state to the end is e^log value: log is about that of the best,
  // and value, at least 1 where there is a path, grows with their number.
  struct PathSum {
    double log, value;
  };

  void Backward();
  void Compare(int32_t state, std::vector<PathSum>* sums);
  void AddUp(int32_t state, std::vector<PathSum>* sums);
  std::vector<double> AccuraciesAfter(const std::vector<double>& accuracies) const;

  const TimedLattice& lattice_;
  std::vector<double> probs_;  // of each arc and final cost, given its state; at first the costs
  double log_likelihood_ = 0.0;
};

}  // namespace kdspeech
