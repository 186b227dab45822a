// The forward-backward algorithm on a lattice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "decode/lattice.h"

namespace kdspeech {

// An arc or a final cost. Arcs are numbered as in the lattice; the final cost of state s comes
// after them as number num_arcs + s. Whether the lattice is compact is known to the compiler: loops
// over transitions are made for both.
template <bool compact>
struct Transition {
  int32_t state, frame;  // where it begins
  int32_t number;
  int32_t next;  // the state that it leads to; -1 for a final cost
  int32_t label, word;
  float graph_cost, acoustic_cost;
};

// A lattice with the frames of its states.
class TimedLattice {
 public:
  explicit TimedLattice(const LatticeView& lattice);  // throws as StateTimes

  const LatticeView view;
  const std::vector<int32_t> times;
  const int32_t num_arcs;
  const int32_t num_frames;  // of the longest path
  const int32_t max_tid;

  int32_t NumTransitions() const { return num_arcs + view.num_states; }

  // Calls f(frame, tid) for the transition ids of a transition.
  template <bool compact, class F>
  void ForFrames(const Transition<compact>& transition, const F& f) const {
    if constexpr (compact) {
      const int32_t* offsets = view.string_offsets + transition.label;
      for (int32_t i = offsets[0]; i < offsets[1]; ++i) {
        f(transition.frame + i - offsets[0], view.tids[i]);
      }
    } else if (transition.label) {
      f(transition.frame, transition.label);
    }
  }

  // Calls f(transition) for those that leave a state which something leads to.
  template <bool compact, class F>
  void ForArcs(int32_t state, const F& f) const {
    const int32_t end = view.offsets[state + 1], frame = times[state];
    for (int32_t i = view.offsets[state]; i < end; ++i) {
      const LatticeArc& arc = view.arcs[i];
      f(Transition<compact>{state, frame, i, arc.nextstate, arc.ilabel, arc.olabel, arc.graph_cost,
                            arc.acoustic_cost});
    }
  }
  template <bool compact, class F>
  void ForFinal(int32_t state, const F& f) const {
    const LatticeCost& cost = view.finals[state];
    if (!IsFinal(cost)) return;
    const int32_t label = compact ? view.final_strings[state] : 0;
    f(Transition<compact>{state, times[state], num_arcs + state, -1, label, 0, cost.graph_cost,
                          cost.acoustic_cost});
  }

  // For all states, one after the other.
  template <class F>
  void ForTransitions(const F& f) const {
    view.IsCompact() ? ForAll<true>(f) : ForAll<false>(f);
  }

 private:
  template <bool compact, class F>
  void ForAll(const F& f) const {
    for (int32_t state = 0; state < view.num_states; ++state) {
      if (times[state] < 0) continue;
      ForArcs<compact>(state, f);
      ForFinal<compact>(state, f);
    }
  }
};

// The lattice as a Markov chain: given what all paths from each state to the end sum up to, an arc
// has a probability given the state it leaves, and nothing overflows, however long the lattice is.
class LatticeChain {
 public:
  // Calls cost(transition) once for each, in another order than ForTransitions. Keeps a reference
  // to the lattice. Throws InputError where there is no path, or costs are no numbers.
  template <class Cost>
  LatticeChain(const TimedLattice& lattice, const Cost& cost) : LatticeChain(lattice) {
    lattice.view.IsCompact() ? Backward<true>(cost) : Backward<false>(cost);
  }

  double LogLikelihood() const;

  // Calls f(transition, posterior) in the order of ForTransitions.
  template <class F>
  void ForPosteriors(const F& f) const {
    std::vector<double> occupancies(lattice_.view.num_states, 0.0);
    occupancies[0] = 1.0;
    lattice_.ForTransitions([&](const auto& transition) {
      const double posterior = occupancies[transition.state] * probs_[transition.number];
      if (transition.next >= 0) occupancies[transition.next] += posterior;
      f(transition, posterior);
    });
  }

  // The same with f(transition, posterior, difference): the posterior times how much more accurate
  // than the average the paths through the transition are. `accuracies`: by their numbers. Returns
  // the average.
  template <class F>
  double ForDifferences(const std::vector<double>& accuracies, const F& f) const {
    const std::vector<double> after = AccuraciesAfter(accuracies);
    std::vector<double> before(lattice_.view.num_states, 0.0);  // times the states' posteriors
    ForPosteriors([&](const auto& transition, double posterior) {
      const int32_t i = transition.number, next = transition.next;
      const double until = probs_[i] * before[transition.state] + posterior * accuracies[i];
      if (next >= 0) before[next] += until;
      const double rest = next < 0 ? 0.0 : after[next];
      f(transition, posterior, until + posterior * (rest - after[0]));
    });
    return after[0];
  }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // The sum over the paths from a state to the end is e^log value: log is about that of the best,
  // and value, at least 1 where there is a path, grows with their number.
  struct PathSum {
    double log = -kInfinity, value = 0.0;
  };

  explicit LatticeChain(const TimedLattice& lattice);
  int32_t BlockBegin(int32_t end) const;
  void AddUp(int32_t begin, int32_t end);
  void AddUp(int32_t state);
  void CheckSum() const;
  std::vector<double> AccuraciesAfter(const std::vector<double>& accuracies) const;

  template <bool compact, class Cost>
  void Backward(const Cost& cost) {
    for (int32_t end = lattice_.view.num_states; end > 0;) {
      const int32_t begin = BlockBegin(end);
      for (int32_t state = end - 1; state >= begin; --state) Compare<compact>(state, cost);
      AddUp(begin, end);
      end = begin;
    }
    CheckSum();
  }

  // Sets the log of the state's sum and the log weights of its arcs, of which the largest is 0.
  template <bool compact, class Cost>
  void Compare(int32_t state, const Cost& cost) {
    if (lattice_.times[state] < 0) return;
    double best = -kInfinity;
    const auto compare = [&](const auto& transition) {
      const double rest = transition.next < 0 ? 0.0 : sums_[transition.next].log;
      const double score = rest - cost(transition);
      probs_[transition.number] = score;
      best = std::max(best, score);
    };
    lattice_.ForFinal<compact>(state, compare);
    lattice_.ForArcs<compact>(state, compare);
    sums_[state].log = best;
    if (best == -kInfinity) return;  // no path: weights of 0
    probs_[lattice_.num_arcs + state] -= best;
    double* probs = probs_.data();
    const int32_t end = lattice_.view.offsets[state + 1];
    for (int32_t arc = lattice_.view.offsets[state]; arc < end; ++arc) probs[arc] -= best;
  }

  const TimedLattice& lattice_;
  std::vector<double> probs_;  // of each arc and final cost, given its state
  std::vector<PathSum> sums_;  // of each state
};

}  // namespace kdspeech
