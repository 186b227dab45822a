#include "graph/remove_epsilons.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kRemoved = -1;  // the next state of an arc that is gone

float LogAdd(float a, float b) {
  if (std::max(a, b) == kInfinity) return std::min(a, b);
  return std::min(a, b) - std::log1p(std::exp(-std::abs(a - b)));
}

bool Join(const FstArc& a, const FstArc& b, FstArc* joined) {
  if ((a.ilabel != 0 && b.ilabel != 0) || (a.olabel != 0 && b.olabel != 0)) return false;
  *joined = {a.ilabel | b.ilabel, a.olabel | b.olabel, a.cost + b.cost, b.next};
  return true;
}

bool IsEpsilon(const FstArc& arc) { return arc.ilabel == 0 && arc.olabel == 0; }

// Goes through the states in order. Arcs are only added to the state at hand, so the arcs of states
// that are done and those of this state lie in `done_`, those of later states still in `fst_`.
class LocalRemover {
 public:
  explicit LocalRemover(Fst fst) : fst_(std::move(fst)), arcs_in_(NumStates()), out_(NumStates()) {
    for (const FstArc& arc : fst_.arcs) ++arcs_in_[arc.next];
    if (fst_.start >= 0) ++arcs_in_[fst_.start];
    for (int64_t s = 0; s < NumStates(); ++s) {
      out_[s] = fst_.offsets[s + 1] - fst_.offsets[s] + (fst_.finals[s] != kInfinity);
    }
    begins_.reserve(NumStates() + 1);
    done_.reserve(fst_.arcs.size());
  }

  Fst Run() {
    for (int64_t s = 0; s < NumStates(); ++s) {
      begins_.push_back(static_cast<int64_t>(done_.size()));
      done_.insert(done_.end(), fst_.arcs.begin() + fst_.offsets[s],
                   fst_.arcs.begin() + fst_.offsets[s + 1]);
      for (size_t i = begins_[s]; i < done_.size(); ++i) Visit(s, i);
    }
    begins_.push_back(static_cast<int64_t>(done_.size()));
    return Finish();
  }

 private:
  int64_t NumStates() const { return static_cast<int64_t>(fst_.finals.size()); }

  // The arcs of a state; adding arcs makes the pointers invalid.
  std::pair<FstArc*, FstArc*> Arcs(int64_t s) {
    const int64_t current = static_cast<int64_t>(begins_.size()) - 1;
    if (s > current)
      return {fst_.arcs.data() + fst_.offsets[s], fst_.arcs.data() + fst_.offsets[s + 1]};
    const size_t end = s == current ? done_.size() : begins_[s + 1];
    return {done_.data() + begins_[s], done_.data() + end};
  }

  void Visit(int64_t s, size_t i) {
    const int32_t next = done_[i].next;
    if (next == kRemoved || next == s) return;
    if (arcs_in_[next] == 1 && out_[next] > 1) {
      JoinAll(s, i);
    } else if (out_[next] == 1) {
      JoinOne(s, i);
    }
  }

  // The arc is the only one into a state that has several arcs out.
  void JoinAll(int64_t s, size_t i) {
    const FstArc arc = done_[i];
    float gone = kInfinity, kept = kInfinity;
    joined_.clear();
    const auto [begin, end] = Arcs(arc.next);
    for (FstArc* after = begin; after != end; ++after) {
      if (after->next == kRemoved) continue;
      FstArc joined;
      if (Join(arc, *after, &joined)) {
        joined_.push_back(joined);
        gone = LogAdd(gone, after->cost);
        Remove(arc.next, after);
      } else {
        kept = LogAdd(kept, after->cost);
      }
    }
    const float final_cost = fst_.finals[arc.next];
    float& share = IsEpsilon(arc) ? gone : kept;
    share = LogAdd(share, final_cost);
    if (IsEpsilon(arc) && final_cost != kInfinity) {
      AddFinal(s, arc.cost + final_cost);
      RemoveFinal(arc.next);
    }
    if (gone == kInfinity) return;
    if (kept == kInfinity) {
      Remove(s, &done_[i]);
    } else {
      Reweight(i, kept - LogAdd(gone, kept));
    }
    for (const FstArc& joined : joined_) Add(s, joined);
  }

  // The arc leads to a state with a single arc out, or a single end.
  void JoinOne(int64_t s, size_t i) {
    const FstArc arc = done_[i];
    const bool only = arcs_in_[arc.next] == 1;  // then the state behind goes, too
    if (fst_.finals[arc.next] != kInfinity) {
      if (!IsEpsilon(arc)) return;
      AddFinal(s, arc.cost + fst_.finals[arc.next]);
      if (only) RemoveFinal(arc.next);
      Remove(s, &done_[i]);
      return;
    }
    const auto [begin, end] = Arcs(arc.next);
    FstArc* after = std::find_if(begin, end, [](const FstArc& a) { return a.next != kRemoved; });
    FstArc joined;
    if (!Join(arc, *after, &joined)) return;
    if (only) Remove(arc.next, after);
    Remove(s, &done_[i]);
    Add(s, joined);
  }

  void Add(int64_t s, const FstArc& arc) {
    ++out_[s];
    ++arcs_in_[arc.next];
    done_.push_back(arc);
  }

  void Remove(int64_t s, FstArc* arc) {
    --out_[s];
    --arcs_in_[arc->next];
    arc->next = kRemoved;
  }

  void AddFinal(int64_t s, float cost) {
    if (fst_.finals[s] == kInfinity) ++out_[s];
    fst_.finals[s] = std::min(fst_.finals[s], cost);
  }

  void RemoveFinal(int64_t s) {
    --out_[s];
    fst_.finals[s] = kInfinity;
  }

  // Moves a cost from what follows an arc to the arc.
  void Reweight(size_t i, float cost) {
    done_[i].cost += cost;
    const auto [begin, end] = Arcs(done_[i].next);
    for (FstArc* after = begin; after != end; ++after) after->cost -= cost;
    fst_.finals[done_[i].next] -= cost;
  }

  Fst Finish() {
    Fst result;
    result.start = fst_.start;
    result.finals = std::move(fst_.finals);
    result.offsets.reserve(begins_.size());
    result.arcs.reserve(done_.size());
    for (int64_t s = 0; s + 1 < static_cast<int64_t>(begins_.size()); ++s) {
      std::copy_if(done_.begin() + begins_[s], done_.begin() + begins_[s + 1],
                   std::back_inserter(result.arcs),
                   [](const FstArc& arc) { return arc.next != kRemoved; });
      result.offsets.push_back(static_cast<int64_t>(result.arcs.size()));
    }
    return result;
  }

  Fst fst_;
  std::vector<int64_t> arcs_in_, out_;  // the start counts as an arc in, an end as one out
  std::vector<int64_t> begins_;
  std::vector<FstArc> done_;
  std::vector<FstArc> joined_;
};

void Check(const Fst& fst) {
  const int64_t num_states = static_cast<int64_t>(fst.finals.size());
  bool fits = static_cast<int64_t>(fst.offsets.size()) == num_states + 1 && fst.offsets[0] == 0 &&
              fst.offsets.back() == static_cast<int64_t>(fst.arcs.size()) &&
              std::is_sorted(fst.offsets.begin(), fst.offsets.end());
  fits = fits && fst.start >= -1 && fst.start < num_states;
  for (const FstArc& arc : fst.arcs) {
    fits = fits && arc.next >= 0 && arc.next < num_states && arc.ilabel >= 0 && arc.olabel >= 0;
  }
  if (!fits) throw InputError("a transducer whose arrays do not fit each other");
}

// Joining would go round a cycle for ever. States leave in topological order as long as some have
// no epsilon arc into them.
void CheckAcyclic(const Fst& fst) {
  const int64_t num_states = static_cast<int64_t>(fst.finals.size());
  std::vector<int64_t> arcs_in(num_states), ready;
  for (const FstArc& arc : fst.arcs) arcs_in[arc.next] += IsEpsilon(arc);
  for (int64_t s = 0; s < num_states; ++s) {
    if (arcs_in[s] == 0) ready.push_back(s);
  }
  int64_t num_left = num_states;
  for (; !ready.empty(); --num_left) {
    const int64_t s = ready.back();
    ready.pop_back();
    for (int64_t i = fst.offsets[s]; i < fst.offsets[s + 1]; ++i) {
      const FstArc& arc = fst.arcs[i];
      if (IsEpsilon(arc) && --arcs_in[arc.next] == 0) ready.push_back(arc.next);
    }
  }
  if (num_left > 0) throw InputError("a transducer with a cycle of epsilon arcs");
}

}  // namespace

Fst RemoveEpsilonsLocally(Fst fst) {
  Check(fst);
  CheckAcyclic(fst);
  return LocalRemover(std::move(fst)).Run();
}

}  // namespace kdspeech
