#include "decode/lattice_determinize.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <unordered_map>
#include <utility>

#include "decode/lattice_builder.h"
#include "decode/lattice_path.h"
#include "decode/string_trie.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kDelta = 1.0 / 1024;  // costs that differ by less are the same in a subset
constexpr double kMargin = 0.8;        // of max_mem, what may be in use after a clean-up
constexpr double kRetryCutoff = 0.5;   // a beam that got smaller than this share is tried again
constexpr int kMaxTries = 10;

struct Cost {
  double graph, acoustic;
};

// A state of the input and what is left over of the best path to it.
struct Element {
  int32_t state, string;
  Cost cost;
};

// Sets of elements, each with a number; sets of the same states and strings whose costs differ by
// no more than kDelta are one.
class SubsetTable {
 public:
  explicit SubsetTable(double acoustic_scale) : scale_(acoustic_scale) { slots_.resize(64, -1); }

  // The number of the set, or -1.
  int32_t Find(const std::vector<Element>& subset) const {
    for (size_t slot = Hash(subset.data(), subset.size());; ++slot) {
      const int32_t found = slots_[slot & (slots_.size() - 1)];
      if (found < 0 || Equal(found, subset)) return found;
    }
  }
  // Adds a set that is not there.
  int32_t Add(const std::vector<Element>& subset) {
    elements_.insert(elements_.end(), subset.begin(), subset.end());
    ends_.push_back(elements_.size());
    const auto number = static_cast<int32_t>(ends_.size()) - 1;
    if (2 * ends_.size() > slots_.size())
      Rehash(2 * slots_.size());
    else
      Insert(number);
    return number;
  }
  const Element* Begin(int32_t number) const {
    return elements_.data() + (number ? ends_[number - 1] : 0);
  }
  const Element* End(int32_t number) const { return elements_.data() + ends_[number]; }
  std::vector<Element>& Elements() { return elements_; }
  int64_t Bytes() const { return elements_.size() * sizeof(Element); }
  void Rehash() { Rehash(slots_.size()); }  // after the strings got new numbers

 private:
  static size_t Hash(const Element* elements, size_t size) {
    uint64_t hash = size;
    for (size_t i = 0; i < size; ++i) {
      const uint64_t key = (static_cast<uint64_t>(elements[i].state) << 32) |
                           static_cast<uint32_t>(elements[i].string);
      hash = (hash ^ key) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    return hash;
  }
  bool Equal(int32_t number, const std::vector<Element>& subset) const {
    const Element* mine = Begin(number);
    if (End(number) - mine != static_cast<int64_t>(subset.size())) return false;
    for (const Element& other : subset) {
      if (mine->state != other.state || mine->string != other.string) return false;
      const double difference = mine->cost.graph - other.cost.graph +
                                scale_ * (mine->cost.acoustic - other.cost.acoustic);
      if (std::abs(difference) > kDelta) return false;
      ++mine;
    }
    return true;
  }
  void Insert(int32_t number) {
    size_t slot = Hash(Begin(number), End(number) - Begin(number));
    while (slots_[slot & (slots_.size() - 1)] >= 0) ++slot;
    slots_[slot & (slots_.size() - 1)] = number;
  }
  void Rehash(size_t num_slots) {
    slots_.assign(num_slots, -1);
    for (size_t i = 0; i < ends_.size(); ++i) Insert(static_cast<int32_t>(i));
  }

  double scale_;
  std::vector<Element> elements_;
  std::vector<size_t> ends_;
  std::vector<int32_t> slots_;
};

// Weighted determinization with the best paths' transition ids as part of the weight, arcs being
// followed in the order of the best path through them, after Kaldi's determinize-lattice-pruned
// (Povey et al., "Generating exact lattices in the WFST framework", 2012). The labels are the
// input's olabels, and the arcs without a label come first among those of a state.
class Determinizer {
 public:
  Determinizer(const LatticeView& in, double acoustic_scale, double beam, int64_t max_mem)
      : in_(in),
        scale_(acoustic_scale),
        max_mem_(max_mem),
        backward_(BackwardCosts(in, {acoustic_scale, 1.0, 0.0})),
        out_(true),
        initial_(acoustic_scale),
        minimal_(acoustic_scale),
        place_(in.num_states, -1) {
    effective_beam_ = beam;
    cutoff_ = backward_[0] + beam;
  }

  Lattice Run() {
    if (backward_[0] == kInfinity) return out_.Build();  // no path at all
    Start();
    while (!queue_.empty()) {
      if (out_.NumStates() % 10 == 0 && !MemoryIsEnough()) {
        effective_beam_ = queue_.top().first - backward_[0];
        break;
      }
      const int32_t task = queue_.top().second;
      queue_.pop();
      ProcessTask(task);
    }
    return out_.Build();
  }

  double EffectiveBeam() const { return effective_beam_; }

 private:
  // Follow `label` from an output state to `subset`, which is not normalized.
  struct Task {
    int32_t state, label;
    std::vector<Element> subset;
  };
  // Where an initial subset leads, and what the way there costs.
  struct Destination {
    int32_t state, string;
    Cost cost;
  };
  // An element whose string still lacks what is on `arc`.
  struct Pending {
    Element element;
    const LatticeArc* arc;
  };

  double Total(const Cost& cost) const { return cost.graph + scale_ * cost.acoustic; }

  // -1, 0, 1: a is better, equal, worse.
  int Compare(const Cost& a, const Cost& b) const {
    const double difference = Total(a) - Total(b);
    if (difference != 0.0) return difference < 0.0 ? -1 : 1;
    return a.graph == b.graph ? 0 : a.graph < b.graph ? -1 : 1;
  }
  bool Better(const Element& a, const Element& b) const {
    const int order = Compare(a.cost, b.cost);
    return order ? order < 0 : a.string != b.string && strings_.Before(a.string, b.string);
  }

  static Pending Follow(const Element& element, const LatticeArc& arc) {
    const Cost cost{element.cost.graph + arc.graph_cost, element.cost.acoustic + arc.acoustic_cost};
    return {{arc.nextstate, element.string, cost}, &arc};
  }
  void Resolve(Pending* pending) {
    const LatticeArc* arc = std::exchange(pending->arc, nullptr);
    if (arc) pending->element.string = Extend(pending->element.string, arc->ilabel);
  }
  int32_t Extend(int32_t string, int32_t ilabel) {
    if (!in_.IsCompact()) return ilabel ? strings_.Successor(string, ilabel) : string;
    for (int32_t i = in_.string_offsets[ilabel]; i < in_.string_offsets[ilabel + 1]; ++i) {
      string = strings_.Successor(string, in_.tids[i]);
    }
    return string;
  }
  bool Better(Pending* a, Pending* b) {
    const int order = Compare(a->element.cost, b->element.cost);
    if (order) return order < 0;
    Resolve(a);
    Resolve(b);
    return Better(a->element, b->element);
  }

  bool HasLabels(int32_t state) const {
    return in_.offsets[state] < in_.offsets[state + 1] && in_.End(state)[-1].olabel != 0;
  }

  // Adds what arcs without a label lead to; of all, keeps the final states and those that arcs with
  // labels leave, in their order.
  void Close(std::vector<Element>* subset) {
    closure_.clear();
    for (const Element& element : *subset) Reach({element, nullptr});
    subset->clear();
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<int32_t>());
      const int32_t state = heap_.back();
      heap_.pop_back();
      Resolve(&closure_[place_[state]]);
      const Element element = closure_[place_[state]].element;
      place_[state] = -1;
      for (const LatticeArc* arc = in_.Begin(state); arc < in_.End(state) && !arc->olabel; ++arc) {
        Reach(Follow(element, *arc));
      }
      if (HasLabels(state) || IsFinal(in_.finals[state])) subset->push_back(element);
    }
  }

  void Reach(Pending pending) {
    const int32_t state = pending.element.state;
    if (backward_[state] == kInfinity) return;
    if (place_[state] < 0) {
      place_[state] = static_cast<int32_t>(closure_.size());
      closure_.push_back(pending);
      heap_.push_back(state);
      std::push_heap(heap_.begin(), heap_.end(), std::greater<int32_t>());
    } else if (Better(&pending, &closure_[place_[state]])) {
      closure_[place_[state]] = pending;
    }
  }

  // Takes the best cost and the common beginning of the strings out of the subset.
  Destination Normalize(std::vector<Element>* subset) {
    Cost best = (*subset)[0].cost;
    int32_t prefix = strings_.Length((*subset)[0].string);
    for (const Element& element : *subset) {
      if (Compare(element.cost, best) < 0) best = element.cost;
      if (prefix) prefix = strings_.CommonPrefix((*subset)[0].string, element.string, prefix);
    }
    Destination common{-1, 0, best};
    if (prefix) common.string = FirstPart((*subset)[0].string, prefix);
    for (Element& element : *subset) {
      element.string = strings_.RemovePrefix(element.string, prefix);
      element.cost.graph -= best.graph;
      element.cost.acoustic -= best.acoustic;
    }
    return common;
  }
  int32_t FirstPart(int32_t string, int32_t length) {
    strings_.Get(string, &tids_);
    int32_t part = 0;
    for (int32_t i = 0; i < length; ++i) part = strings_.Successor(part, tids_[i]);
    return part;
  }

  void Start() {
    std::vector<Element> subset{{0, 0, {0.0, 0.0}}};
    Close(&subset);
    MinimalState(subset, 0.0);
  }

  // The output state of a closed, normalized subset, whose best path from the start costs
  // `forward`.
  int32_t MinimalState(const std::vector<Element>& subset, double forward) {
    const int32_t found = minimal_.Find(subset);
    if (found >= 0) return found;
    const int32_t state = minimal_.Add(subset);  // states and subsets have the same numbers
    out_.AddState();
    forward_.push_back(forward);
    ProcessFinal(state);
    QueueTransitions(state);
    return state;
  }

  void ProcessFinal(int32_t state) {
    Element best{-1, 0, {kInfinity, kInfinity}};
    for (const Element* element = minimal_.Begin(state); element < minimal_.End(state); ++element) {
      const LatticeCost& cost = in_.finals[element->state];
      if (!IsFinal(cost)) continue;
      Element candidate = *element;
      candidate.cost.graph += cost.graph_cost;
      candidate.cost.acoustic += cost.acoustic_cost;
      if (in_.IsCompact()) {
        candidate.string = Extend(candidate.string, in_.final_strings[element->state]);
      }
      if (best.state < 0 || Better(candidate, best)) best = candidate;
    }
    if (best.state < 0 || forward_[state] + Total(best.cost) > cutoff_) return;
    out_.SetFinal(state, ToFloat(best.cost), OutString(best.string, 0));
  }

  void QueueTransitions(int32_t state) {
    pairs_.clear();
    for (const Element* element = minimal_.Begin(state); element < minimal_.End(state); ++element) {
      for (const LatticeArc* arc = in_.End(element->state) - 1;
           arc >= in_.Begin(element->state) && arc->olabel; --arc) {
        if (backward_[arc->nextstate] < kInfinity) pairs_.push_back(Follow(*element, *arc));
      }
    }
    std::sort(pairs_.begin(), pairs_.end(), [](const Pending& a, const Pending& b) {
      return a.arc->olabel != b.arc->olabel ? a.arc->olabel < b.arc->olabel
                                            : a.element.state < b.element.state;
    });
    for (size_t begin = 0, end = 0; begin < pairs_.size(); begin = end) {
      double best = kInfinity;
      for (; end < pairs_.size() && pairs_[end].arc->olabel == pairs_[begin].arc->olabel; ++end) {
        const Element& element = pairs_[end].element;
        best = std::min(best, Total(element.cost) + backward_[element.state]);
      }
      if (forward_[state] + best <= cutoff_) QueueTask(state, forward_[state] + best, begin, end);
    }
  }

  // The task of pairs_[begin] .. pairs_[end], which have one label; the best of each state stays.
  void QueueTask(int32_t state, double priority, size_t begin, size_t end) {
    if (free_tasks_.empty()) {
      free_tasks_.push_back(static_cast<int32_t>(tasks_.size()));
      tasks_.emplace_back();
    }
    const int32_t index = free_tasks_.back();
    free_tasks_.pop_back();
    Task& task = tasks_[index];
    task.state = state;
    task.label = pairs_[begin].arc->olabel;
    task.subset.clear();
    while (begin < end) {
      Pending* best = &pairs_[begin];
      while (++begin < end && pairs_[begin].element.state == best->element.state) {
        if (Better(&pairs_[begin], best)) best = &pairs_[begin];
      }
      Resolve(best);
      task.subset.push_back(best->element);
    }
    queued_elements_ += static_cast<int64_t>(task.subset.size());
    queue_.emplace(priority, index);
  }

  void ProcessTask(int32_t index) {
    std::vector<Element> subset;
    subset.swap(tasks_[index].subset);
    queued_elements_ -= static_cast<int64_t>(subset.size());
    const int32_t state = tasks_[index].state, label = tasks_[index].label;
    const Destination common = Normalize(&subset);
    const Destination next = Follow(subset, forward_[state] + Total(common.cost));
    const Cost cost{common.cost.graph + next.cost.graph, common.cost.acoustic + next.cost.acoustic};
    const LatticeCost rounded = ToFloat(cost);
    out_.AddArc(state, {OutString(common.string, next.string), label, next.state,
                        rounded.graph_cost, rounded.acoustic_cost});
    ++num_arcs_;
    subset.swap(tasks_[index].subset);
    free_tasks_.push_back(index);
  }

  // Where a normalized subset leads, not yet closed.
  Destination Follow(const std::vector<Element>& subset, double forward) {
    const int32_t found = initial_.Find(subset);
    if (found >= 0) return destinations_[found];
    std::vector<Element> closed = subset;
    Close(&closed);
    Destination next = Normalize(&closed);
    next.state = MinimalState(closed, forward + Total(next.cost));
    initial_.Add(subset);
    destinations_.push_back(next);
    return next;
  }

  // The output's number of the strings `a` and `b` joined.
  int32_t OutString(int32_t a, int32_t b) {
    strings_.Get(a, &tids_);
    if (b) {
      std::vector<int32_t> rest;
      strings_.Get(b, &rest);
      tids_.insert(tids_.end(), rest.begin(), rest.end());
    }
    out_bytes_ += static_cast<int64_t>(sizeof(int32_t) * tids_.size());
    return out_.AddString(tids_.data(), tids_.data() + tids_.size());
  }

  static LatticeCost ToFloat(const Cost& cost) {
    return {static_cast<float>(cost.graph), static_cast<float>(cost.acoustic)};
  }

  int64_t Bytes() const {
    return strings_.Bytes() + initial_.Bytes() + minimal_.Bytes() + out_bytes_ +
           queued_elements_ * static_cast<int64_t>(sizeof(Element)) +
           num_arcs_ * static_cast<int64_t>(sizeof(LatticeArc));
  }

  // Forgets strings that are not needed any more, if there is no other way.
  bool MemoryIsEnough() {
    if (max_mem_ <= 0 || Bytes() <= max_mem_) return true;
    std::vector<int32_t*> needed;
    for (Element& element : initial_.Elements()) needed.push_back(&element.string);
    for (Element& element : minimal_.Elements()) needed.push_back(&element.string);
    for (Destination& destination : destinations_) needed.push_back(&destination.string);
    for (Task& task : tasks_) {
      for (Element& element : task.subset) needed.push_back(&element.string);
    }
    strings_.Keep(needed);
    initial_.Rehash();
    minimal_.Rehash();
    return static_cast<double>(Bytes()) <= kMargin * static_cast<double>(max_mem_);
  }

  const LatticeView in_;
  const double scale_;
  const int64_t max_mem_;
  double cutoff_, effective_beam_;
  const std::vector<double> backward_;
  LatticeBuilder out_;
  std::vector<double> forward_;  // of each output state, the cost of the best path to it
  StringTrie strings_;
  SubsetTable initial_, minimal_;
  std::vector<Destination> destinations_;  // of the initial subsets
  std::vector<Task> tasks_;
  std::vector<int32_t> free_tasks_;
  using Entry = std::pair<double, int32_t>;  // priority and task
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue_;
  int64_t queued_elements_ = 0, num_arcs_ = 0, out_bytes_ = 0;
  // Scratch.
  std::vector<Pending> closure_, pairs_;
  std::vector<int32_t> heap_, place_, tids_;
};

// The words of a lattice together with the phones that begin on its arcs, as labels.
class PhoneLabels {
 public:
  explicit PhoneLabels(const std::vector<int32_t>& phone_starts) : phone_starts_(phone_starts) {}

  int32_t Label(const LatticeArc& arc) {
    const size_t tid = arc.ilabel;
    const int32_t phone = tid < phone_starts_.size() ? phone_starts_[tid] : 0;
    if (phone == 0 && arc.olabel == 0) return 0;
    const uint64_t key = (static_cast<uint64_t>(arc.olabel) << 32) | static_cast<uint32_t>(phone);
    const auto found = labels_.emplace(key, static_cast<int32_t>(words_.size()));
    if (found.second) words_.push_back(arc.olabel);
    return found.first->second;
  }
  int32_t Word(int32_t label) const { return words_[label]; }

 private:
  const std::vector<int32_t>& phone_starts_;
  std::unordered_map<uint64_t, int32_t> labels_;
  std::vector<int32_t> words_{0};  // of each label
};

// Puts the arcs without a label first among those of each state.
void SortArcs(Lattice* lattice) {
  for (int32_t state = 0; state < lattice->NumStates(); ++state) {
    std::stable_partition(lattice->arcs.begin() + lattice->offsets[state],
                          lattice->arcs.begin() + lattice->offsets[state + 1],
                          [](const LatticeArc& arc) { return arc.olabel == 0; });
  }
}

// Determinizes on the olabels. Where memory ends before half of the beam is reached, once more with
// a smaller beam and a pruned lattice, as Kaldi does.
Lattice DeterminizePruned(Lattice lattice, const DeterminizeOptions& options,
                          double* effective_beam) {
  if (lattice.NumStates() == 0) return LatticeBuilder(true).Build();
  SortArcs(&lattice);
  double beam = options.beam;
  for (int tries = 1;; ++tries) {
    Determinizer determinizer(lattice.View(), options.acoustic_scale, beam, options.max_mem);
    Lattice result = determinizer.Run();
    *effective_beam = determinizer.EffectiveBeam();
    if (*effective_beam >= beam * kRetryCutoff || tries == kMaxTries) return result;
    beam *= std::max(0.5, std::sqrt(std::max(0.0, *effective_beam) / beam));
    lattice = Prune(lattice.View(), {options.acoustic_scale, 1.0, 0.0}, beam);
    SortArcs(&lattice);
  }
}

Lattice Copy(const LatticeView& view) {
  Lattice lattice;
  if (view.num_states == 0) return lattice;
  lattice.offsets.assign(view.offsets, view.offsets + view.num_states + 1);
  lattice.arcs.assign(view.arcs, view.arcs + view.NumArcs());
  lattice.finals.assign(view.finals, view.finals + view.num_states);
  return lattice;
}

}  // namespace

Lattice DeterminizePhonePruned(const LatticeView& lattice, const std::vector<int32_t>& phone_starts,
                               const DeterminizeOptions& options, double* effective_beam) {
  Lattice work = Copy(lattice);
  double phone_beam = options.beam, word_beam = options.beam;
  if (options.phone_determinize) {
    PhoneLabels labels(phone_starts);
    // Not on the arcs of the start, as in Kaldi.
    const int32_t first = work.NumStates() ? work.offsets[1] : 0;
    for (size_t i = 0; i < work.arcs.size(); ++i) {
      LatticeArc plain = work.arcs[i];
      if (static_cast<int32_t>(i) < first) plain.ilabel = 0;
      work.arcs[i].olabel = labels.Label(plain);
    }
    work = DeterminizePruned(std::move(work), options, &phone_beam);
    for (LatticeArc& arc : work.arcs) arc.olabel = labels.Word(arc.olabel);
  }
  Lattice result = DeterminizePruned(std::move(work), options, &word_beam);
  if (effective_beam) *effective_beam = std::min(phone_beam, word_beam);
  return result;
}

}  // namespace kdspeech
