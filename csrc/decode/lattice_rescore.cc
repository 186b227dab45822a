#include "decode/lattice_rescore.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "decode/lattice_builder.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

[[noreturn]] void Fail(int64_t state, const std::string& problem) {
  throw InputError("grammar: state " + std::to_string(state) + " " + problem);
}

}  // namespace

Grammar::Grammar(const std::vector<int64_t>& offsets, const std::vector<Arc>& arcs,
                 std::vector<float> finals, int32_t start, int32_t backoff)
    : start_(start), offsets_{0}, finals_(std::move(finals)) {
  const auto num_states = static_cast<int64_t>(finals_.size());
  const bool good = static_cast<int64_t>(offsets.size()) == num_states + 1 && offsets[0] == 0 &&
                    offsets.back() == static_cast<int64_t>(arcs.size()) &&
                    std::is_sorted(offsets.begin(), offsets.end());
  if (!good) throw InputError("grammar: offsets do not fit its states and arcs");
  if (start < 0 || start >= num_states) throw InputError("grammar: empty");
  arcs_.reserve(arcs.size());
  backoffs_.assign(finals_.size(), {0, -1, 0.0f});
  for (int64_t state = 0; state < num_states; ++state) {
    for (int64_t i = offsets[state]; i < offsets[state + 1]; ++i) {
      const Arc& arc = arcs[i];
      if (arc.next < 0 || arc.next >= num_states) Fail(state, "has an arc that leads nowhere");
      if (std::isnan(arc.cost)) Fail(state, "has an arc with a cost that is no number");
      if (arc.word != 0 && arc.word != backoff) {
        arcs_.push_back(arc);
      } else if (std::exchange(backoffs_[state], arc).next >= 0) {
        Fail(state, "has two back-off arcs (is it a back-off model's grammar?)");
      }
    }
    std::sort(arcs_.begin() + offsets_.back(), arcs_.end(), [](const Arc& a, const Arc& b) {
      return a.word != b.word ? a.word < b.word : a.cost < b.cost;
    });
    offsets_.push_back(static_cast<int64_t>(arcs_.size()));
  }
  CheckBackoffs();
}

// Backing off must come to an end.
void Grammar::CheckBackoffs() const {
  std::vector<char> ends(finals_.size(), false);
  std::vector<int32_t> chain;
  for (size_t first = 0; first < finals_.size(); ++first) {
    chain.clear();
    for (auto state = static_cast<int32_t>(first); state >= 0 && !ends[state];
         state = backoffs_[state].next) {
      if (chain.size() > finals_.size()) Fail(state, "backs off in a circle");
      chain.push_back(state);
    }
    for (const int32_t state : chain) ends[state] = true;
  }
}

double Grammar::Step(int32_t word, int32_t* state) const {
  double cost = 0.0;
  for (int32_t at = *state; at >= 0; cost += backoffs_[at].cost, at = backoffs_[at].next) {
    const auto end = arcs_.begin() + offsets_[at + 1];
    const auto found = std::lower_bound(arcs_.begin() + offsets_[at], end, word,
                                        [](const Arc& arc, int32_t w) { return arc.word < w; });
    if (found == end || found->word != word) continue;
    *state = found->next;
    return cost + found->cost;
  }
  return kInfinity;
}

double Grammar::FinalCost(int32_t state) const {
  double cost = 0.0;
  for (; state >= 0; cost += backoffs_[state].cost, state = backoffs_[state].next) {
    if (finals_[state] != std::numeric_limits<float>::infinity()) return cost + finals_[state];
  }
  return kInfinity;
}

namespace {

// The lattice's states together with the grammars' states that the paths to them lead to.
class Rescorer {
 public:
  Rescorer(const LatticeView& in, const std::vector<GrammarTerm>& terms)
      : in_(in), terms_(terms), out_(in), states_(in.num_states) {}

  Lattice Run() {
    if (in_.num_states == 0) return out_.Build();
    std::vector<int32_t> start;
    for (const GrammarTerm& term : terms_) start.push_back(term.grammar->Start());
    State(0, start);
    for (int32_t state = 0; state < in_.num_states; ++state) {
      for (const auto& [histories, out_state] : states_[state]) Expand(state, histories, out_state);
      states_[state].clear();
    }
    Lattice lattice = out_.Build();
    if (lattice.NumStates() == 0 && missing_ > 0) {
      throw InputError("lattice: the language model has no probability for word " +
                       std::to_string(missing_) + " (of another words.txt?), which all paths need");
    }
    return lattice;
  }

 private:
  int32_t State(int32_t state, const std::vector<int32_t>& histories) {
    const auto found = states_[state].emplace(histories, out_.NumStates());
    if (found.second) out_.AddState();
    return found.first->second;
  }

  void Expand(int32_t state, const std::vector<int32_t>& histories, int32_t out_state) {
    for (const LatticeArc* arc = in_.Begin(state); arc < in_.End(state); ++arc) {
      std::vector<int32_t> next = histories;
      double cost = 0.0;
      for (size_t i = 0; i < terms_.size() && arc->olabel; ++i) {
        cost += terms_[i].scale * terms_[i].grammar->Step(arc->olabel, &next[i]);
      }
      if (!std::isfinite(cost)) {
        missing_ = arc->olabel;
        continue;
      }
      LatticeArc rescored = *arc;
      rescored.graph_cost = static_cast<float>(arc->graph_cost + cost);
      rescored.nextstate = State(arc->nextstate, next);
      out_.AddArc(out_state, rescored);
    }
    if (IsFinal(in_.finals[state])) SetFinal(state, histories, out_state);
  }

  void SetFinal(int32_t state, const std::vector<int32_t>& histories, int32_t out_state) {
    LatticeCost cost = in_.finals[state];
    for (size_t i = 0; i < terms_.size(); ++i) {
      cost.graph_cost +=
          static_cast<float>(terms_[i].scale * terms_[i].grammar->FinalCost(histories[i]));
    }
    if (!std::isfinite(cost.graph_cost)) return;
    out_.SetFinal(out_state, cost, in_.IsCompact() ? in_.final_strings[state] : 0);
  }

  const LatticeView in_;
  const std::vector<GrammarTerm>& terms_;
  LatticeBuilder out_;
  std::vector<std::map<std::vector<int32_t>, int32_t>> states_;
  int32_t missing_ = 0;
};

}  // namespace

Lattice RescoreLm(const LatticeView& lattice, const std::vector<GrammarTerm>& terms) {
  return Rescorer(lattice, terms).Run();
}

}  // namespace kdspeech
