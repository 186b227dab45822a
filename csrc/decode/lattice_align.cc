#include "decode/lattice_align.h"

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "decode/lattice_builder.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr int64_t kMaxGrowth = 1000;  // places looked at for each state and arc

// What was read of a path but is not yet on an arc.
struct Pending {
  std::vector<int32_t> tids, words;
  double graph_cost = 0.0, acoustic_cost = 0.0;

  bool IsEmpty() const { return tids.empty() && words.empty(); }
};

// A word, or none, and how many of the pending transition ids are its.
struct Word {
  int32_t word = 0;
  size_t size = 0;
};

class WordAligner {
 public:
  WordAligner(const LatticeView& in, const WordAlignOptions& options)
      : in_(in), options_(options), out_(true) {}

  Lattice Run() {
    if (in_.num_states == 0) return out_.Build();
    State(0, Pending());
    const int64_t limit = kMaxGrowth * (in_.num_states + int64_t{in_.NumArcs()});
    for (int64_t expanded = 0; !queue_.empty(); ++expanded) {
      if (expanded > limit) {
        throw InputError("lattice: too many alignments for word alignment (determinize it first)");
      }
      const Place place = std::move(queue_.back());
      queue_.pop_back();
      Expand(place.out_state, place.in_state, place.pending);
    }
    return out_.Build();
  }

 private:
  // Where in the input the paths from an output state are, and what is pending there.
  struct Place {
    int32_t out_state, in_state;
    Pending pending;
  };

  // The output state of a place where nothing but what is pending is left of the way there.
  int32_t State(int32_t in_state, const Pending& pending) {
    const auto key = std::make_tuple(in_state, pending.tids, pending.words);
    const auto found = states_.emplace(key, out_.NumStates());
    if (found.second) queue_.push_back({out_.AddState(), in_state, pending});
    return found.first->second;
  }

  // Makes an arc for the word that is pending, or else goes on along the arcs of the input.
  void Expand(int32_t from, int32_t in_state, const Pending& pending) {
    const int32_t end = in_.num_states;  // stands behind the final states
    Word word;
    if (FindWord(pending, &word)) {
      Emit(from, in_state, pending, word);
    } else if (in_state == end) {
      Finish(from, pending);
    } else {
      for (const LatticeArc* arc = in_.Begin(in_state); arc < in_.End(in_state); ++arc) {
        const LatticeCost cost{arc->graph_cost, arc->acoustic_cost};
        queue_.push_back({from, arc->nextstate, Advance(pending, arc->olabel, arc->ilabel, cost)});
      }
      const LatticeCost& cost = in_.finals[in_state];
      if (!IsFinal(cost)) return;
      queue_.push_back({from, end, Advance(pending, 0, in_.final_strings[in_state], cost)});
    }
  }

  Pending Advance(const Pending& pending, int32_t word, int32_t string,
                  const LatticeCost& cost) const {
    Pending next = pending;
    if (word) next.words.push_back(word);
    next.tids.insert(next.tids.end(), in_.tids + in_.string_offsets[string],
                     in_.tids + in_.string_offsets[string + 1]);
    next.graph_cost += cost.graph_cost;
    next.acoustic_cost += cost.acoustic_cost;
    return next;
  }

  // All pending costs go on the arc.
  void Emit(int32_t from, int32_t in_state, const Pending& pending, const Word& word) {
    Pending rest;
    rest.tids.assign(pending.tids.begin() + word.size, pending.tids.end());
    rest.words.assign(pending.words.begin() + (word.word != 0), pending.words.end());
    AddArc(from, pending, word, State(in_state, rest));
  }

  void AddArc(int32_t from, const Pending& pending, const Word& word, int32_t next) {
    const int32_t* tids = pending.tids.data();
    out_.AddArc(
        from, {out_.AddString(tids, tids + word.size), word.word, next,
               static_cast<float>(pending.graph_cost), static_cast<float>(pending.acoustic_cost)});
  }

  // At the end what is pending comes out as it is; words without frames are left out.
  void Finish(int32_t from, const Pending& pending) {
    if (pending.IsEmpty()) {
      out_.SetFinal(from, {static_cast<float>(pending.graph_cost),
                           static_cast<float>(pending.acoustic_cost)});
      return;
    }
    Word word{0, pending.tids.size()};
    const bool is_word = !pending.tids.empty() && !pending.words.empty();
    if (is_word) word.word = pending.words[0];
    Pending rest;
    if (is_word) rest.words.assign(pending.words.begin() + 1, pending.words.end());
    AddArc(from, pending, word, State(in_.num_states, rest));
  }

  // Whether the pending transition ids begin with a whole word or silence and go on after it: only
  // then it is known to be over.
  bool FindWord(const Pending& pending, Word* word) const {
    const std::vector<int32_t>& tids = pending.tids;
    if (tids.empty()) return false;
    const WordPosition position = Position(tids[0]);
    if (position != WordPosition::kNonword) {
      if (pending.words.empty()) return false;
      word->word = pending.words[0];
    }
    word->size = PhoneEnd(tids, 0);
    if (position == WordPosition::kBegin) {
      while (word->size < tids.size() && Position(tids[word->size]) != WordPosition::kEnd) {
        ++word->size;
      }
      word->size = PhoneEnd(tids, word->size);
    } else if (position != WordPosition::kNonword && position != WordPosition::kSingleton) {
      return false;
    }
    return word->size < tids.size();
  }

  // The end of the phone that `begin` is in.
  size_t PhoneEnd(const std::vector<int32_t>& tids, size_t begin) const {
    while (begin < tids.size() && !options_.is_final[tids[begin]]) ++begin;
    if (begin < tids.size()) ++begin;
    while (options_.reorder && begin < tids.size() && options_.is_self_loop[tids[begin]]) ++begin;
    return begin;
  }

  WordPosition Position(int32_t tid) const {
    const int32_t phone = options_.tid_to_phone[tid];
    const bool known = phone >= 0 && phone < static_cast<int64_t>(options_.positions.size());
    const WordPosition position = known ? options_.positions[phone] : WordPosition::kUnknown;
    if (position == WordPosition::kUnknown) {
      throw InputError("lattice: phone " + std::to_string(phone) +
                       " is not among the word boundaries (of another lang?)");
    }
    return position;
  }

  const LatticeView in_;
  const WordAlignOptions& options_;
  LatticeBuilder out_;
  std::map<std::tuple<int32_t, std::vector<int32_t>, std::vector<int32_t>>, int32_t> states_;
  std::vector<Place> queue_;
};

void CheckTids(const LatticeView& lattice, const WordAlignOptions& options) {
  const size_t num_tids = options.tid_to_phone.size();
  if (options.is_final.size() != num_tids || options.is_self_loop.size() != num_tids) {
    throw InputError("word alignment: tables of different sizes");
  }
  const int32_t size = lattice.num_states ? lattice.string_offsets[lattice.num_strings] : 0;
  for (int32_t i = 0; i < size; ++i) {
    if (lattice.tids[i] < static_cast<int64_t>(num_tids)) continue;
    throw InputError("lattice: transition id " + std::to_string(lattice.tids[i]) +
                     " is not in the model (another model's?)");
  }
}

}  // namespace

Lattice AlignWords(const LatticeView& lattice, const WordAlignOptions& options) {
  CheckTids(lattice, options);
  return WordAligner(lattice, options).Run();
}

}  // namespace kdspeech
