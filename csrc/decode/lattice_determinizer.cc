#include "decode/lattice_determinizer.h"

#include <algorithm>
#include <limits>

#include "decode/lattice_path.h"

namespace kdspeech {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMargin = 0.8;          // of max_mem, what may be in use after a clean-up
constexpr int32_t kStatesPerCheck = 10;  // of memory

LatticeCost Round(const PathCost& cost) {
  return {static_cast<float>(cost.graph), static_cast<float>(cost.acoustic)};
}

}  // namespace

Determinizer::Determinizer(const LatticeView& in, double acoustic_scale, double beam,
                           int64_t max_mem)
    : in_(in),
      scale_(acoustic_scale),
      max_mem_(max_mem),
      backward_(BackwardCosts(in, {acoustic_scale, 1.0, 0.0})),
      cutoff_(in.num_states ? backward_[0] + beam : 0.0),
      effective_beam_(beam),
      out_(true),
      initial_(acoustic_scale),
      minimal_(acoustic_scale),
      place_(in.num_states, -1) {}

Lattice Determinizer::Run() {
  if (in_.num_states == 0 || backward_[0] == kInfinity) return out_.Build();
  Subset start{{0, 0, {0.0, 0.0}}};
  Close(&start);
  OutputState(start, 0.0);
  while (!queue_.empty()) {
    if (out_.NumStates() % kStatesPerCheck == 0 && !MemoryIsEnough()) {
      effective_beam_ = queue_.top().first - backward_[0];
      break;
    }
    const int32_t task = queue_.top().second;
    queue_.pop();
    ProcessTask(task);
  }
  return out_.Build();
}

// -1, 0, 1: a is better, equal, worse.
int Determinizer::Compare(const PathCost& a, const PathCost& b) const {
  const double difference = Total(a) - Total(b);
  if (difference != 0.0) return difference < 0.0 ? -1 : 1;
  return a.graph == b.graph ? 0 : a.graph < b.graph ? -1 : 1;
}

bool Determinizer::Better(const SubsetElement& a, const SubsetElement& b) const {
  const int order = Compare(a.cost, b.cost);
  return order ? order < 0 : a.string != b.string && strings_.Before(a.string, b.string);
}

bool Determinizer::Better(Pending* a, Pending* b) {
  const int order = Compare(a->element.cost, b->element.cost);
  if (order) return order < 0;
  Resolve(a);
  Resolve(b);
  return Better(a->element, b->element);
}

Determinizer::Pending Determinizer::Follow(const SubsetElement& element, const LatticeArc& arc) {
  const PathCost cost{element.cost.graph + arc.graph_cost,
                      element.cost.acoustic + arc.acoustic_cost};
  return {{arc.nextstate, element.string, cost}, &arc};
}

void Determinizer::Resolve(Pending* pending) {
  const LatticeArc* arc = std::exchange(pending->arc, nullptr);
  if (arc) pending->element.string = Extend(pending->element.string, arc->ilabel);
}

// `string` and then what the label stands for.
int32_t Determinizer::Extend(int32_t string, int32_t ilabel) {
  if (!in_.IsCompact()) return ilabel ? strings_.Successor(string, ilabel) : string;
  for (int32_t i = in_.string_offsets[ilabel]; i < in_.string_offsets[ilabel + 1]; ++i) {
    string = strings_.Successor(string, in_.tids[i]);
  }
  return string;
}

// Adds what arcs without a label lead to, and keeps of all the states that are needed, in order. As
// arcs lead upwards, the best path to the lowest state that is left is known.
void Determinizer::Close(Subset* subset) {
  closure_.clear();
  for (const SubsetElement& element : *subset) Reach({element, nullptr});
  subset->clear();
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<int32_t>());
    const int32_t state = heap_.back();
    heap_.pop_back();
    Resolve(&closure_[place_[state]]);
    const SubsetElement element = closure_[place_[state]].element;
    place_[state] = -1;
    for (const LatticeArc* arc = in_.Begin(state); arc < in_.End(state) && !arc->olabel; ++arc) {
      Reach(Follow(element, *arc));
    }
    if (IsNeeded(state)) subset->push_back(element);
  }
}

void Determinizer::Reach(Pending pending) {
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

// Final states and those that arcs with labels leave.
bool Determinizer::IsNeeded(int32_t state) const {
  if (IsFinal(in_.finals[state])) return true;
  return in_.Begin(state) < in_.End(state) && in_.End(state)[-1].olabel != 0;
}

// Takes the best cost and the common beginning of the strings out of the subset.
Determinizer::Destination Determinizer::Normalize(Subset* subset) {
  const int32_t first = (*subset)[0].string;
  PathCost best = (*subset)[0].cost;
  int32_t prefix = strings_.Length(first);
  for (const SubsetElement& element : *subset) {
    if (Compare(element.cost, best) < 0) best = element.cost;
    if (prefix) prefix = strings_.CommonPrefix(first, element.string, prefix);
  }
  for (SubsetElement& element : *subset) {
    element.string = strings_.RemovePrefix(element.string, prefix);
    element.cost.graph -= best.graph;
    element.cost.acoustic -= best.acoustic;
  }
  return {-1, strings_.Prefix(first, prefix), best};
}

// The output state of a closed and normalized subset; the best path to it costs `forward`.
int32_t Determinizer::OutputState(const Subset& subset, double forward) {
  const int32_t found = minimal_.Find(subset);
  if (found >= 0) return found;
  const int32_t state = minimal_.Add(subset);
  out_.AddState();
  forward_.push_back(forward);
  ProcessFinal(state);
  QueueTransitions(state);
  return state;
}

void Determinizer::ProcessFinal(int32_t state) {
  SubsetElement best{-1, 0, {kInfinity, kInfinity}};
  for (auto element = minimal_.Begin(state); element < minimal_.End(state); ++element) {
    const LatticeCost& cost = in_.finals[element->state];
    if (!IsFinal(cost)) continue;
    SubsetElement candidate = *element;
    candidate.cost.graph += cost.graph_cost;
    candidate.cost.acoustic += cost.acoustic_cost;
    if (in_.IsCompact()) {
      candidate.string = Extend(candidate.string, in_.final_strings[element->state]);
    }
    if (best.state < 0 || Better(candidate, best)) best = candidate;
  }
  if (best.state < 0 || forward_[state] + Total(best.cost) > cutoff_) return;
  out_.SetFinal(state, Round(best.cost), OutputString(best.string, 0));
}

void Determinizer::QueueTransitions(int32_t state) {
  pairs_.clear();
  for (auto element = minimal_.Begin(state); element < minimal_.End(state); ++element) {
    for (const LatticeArc* arc = in_.End(element->state);
         arc > in_.Begin(element->state) && arc[-1].olabel; --arc) {
      if (backward_[arc[-1].nextstate] < kInfinity) pairs_.push_back(Follow(*element, arc[-1]));
    }
  }
  std::sort(pairs_.begin(), pairs_.end(), [](const Pending& a, const Pending& b) {
    return a.arc->olabel != b.arc->olabel ? a.arc->olabel < b.arc->olabel
                                          : a.element.state < b.element.state;
  });
  for (size_t begin = 0, end = 0; begin < pairs_.size(); begin = end) {
    double best = kInfinity;
    for (; end < pairs_.size() && pairs_[end].arc->olabel == pairs_[begin].arc->olabel; ++end) {
      const SubsetElement& element = pairs_[end].element;
      best = std::min(best, Total(element.cost) + backward_[element.state]);
    }
    if (forward_[state] + best <= cutoff_) QueueTask(state, forward_[state] + best, begin, end);
  }
}

// The task of pairs_[begin .. end), which have one label; the best one of each state stays.
void Determinizer::QueueTask(int32_t state, double priority, size_t begin, size_t end) {
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

void Determinizer::ProcessTask(int32_t index) {
  Subset subset;
  subset.swap(tasks_[index].subset);
  queued_elements_ -= static_cast<int64_t>(subset.size());
  const int32_t state = tasks_[index].state, label = tasks_[index].label;
  const Destination common = Normalize(&subset);
  const Destination next = Lead(subset, forward_[state] + Total(common.cost));
  const LatticeCost cost =
      Round({common.cost.graph + next.cost.graph, common.cost.acoustic + next.cost.acoustic});
  out_.AddArc(state, {OutputString(common.string, next.string), label, next.state, cost.graph_cost,
                      cost.acoustic_cost});
  ++num_arcs_;
  subset.swap(tasks_[index].subset);  // its memory is used again
  tasks_[index].subset.clear();
  free_tasks_.push_back(index);
}

// Where a normalized subset leads, which is not yet closed.
Determinizer::Destination Determinizer::Lead(const Subset& subset, double forward) {
  const int32_t found = initial_.Find(subset);
  if (found >= 0) return destinations_[found];
  Subset closed = subset;
  Close(&closed);
  Destination next = Normalize(&closed);
  next.state = OutputState(closed, forward + Total(next.cost));
  initial_.Add(subset);
  destinations_.push_back(next);
  return next;
}

// The output's number of the strings `a` and `b` joined.
int32_t Determinizer::OutputString(int32_t a, int32_t b) {
  strings_.Get(a, &tids_);
  strings_.Get(b, &more_tids_);
  tids_.insert(tids_.end(), more_tids_.begin(), more_tids_.end());
  out_bytes_ += static_cast<int64_t>(sizeof(int32_t) * tids_.size());
  return out_.AddString(tids_.data(), tids_.data() + tids_.size());
}

int64_t Determinizer::Bytes() const {
  return strings_.Bytes() + initial_.Bytes() + minimal_.Bytes() + out_bytes_ +
         queued_elements_ * static_cast<int64_t>(sizeof(SubsetElement)) +
         num_arcs_ * static_cast<int64_t>(sizeof(LatticeArc));
}

// Forgets the strings that are not needed any more, if there is no other way.
bool Determinizer::MemoryIsEnough() {
  if (max_mem_ <= 0 || Bytes() <= max_mem_) return true;
  std::vector<int32_t*> needed;
  const auto need = [&needed](Subset& subset) {
    for (SubsetElement& element : subset) needed.push_back(&element.string);
  };
  need(initial_.Elements());
  need(minimal_.Elements());
  for (Task& task : tasks_) need(task.subset);
  for (Destination& destination : destinations_) needed.push_back(&destination.string);
  strings_.Keep(needed);
  initial_.Rehash();
  minimal_.Rehash();
  return static_cast<double>(Bytes()) <= kMargin * static_cast<double>(max_mem_);
}

}  // namespace kdspeech
