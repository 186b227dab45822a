#include "decode/string_trie.h"

#include <algorithm>
#include <utility>

namespace kdspeech {

namespace {

constexpr size_t kFirstSlots = 1024;  // a power of two, as all sizes of the table

}  // namespace

void StringTrie::Clear() {
  nodes_.assign(1, {-1, 0, 0});
  slots_.assign(kFirstSlots, -1);
}

size_t StringTrie::Slot(int32_t parent, int32_t tid) const {
  const uint64_t key = (static_cast<uint64_t>(parent) << 32) | static_cast<uint32_t>(tid);
  size_t slot = (key * 0x9E3779B97F4A7C15u) >> 32 & (slots_.size() - 1);
  while (slots_[slot] >= 0) {
    const Node& node = nodes_[slots_[slot]];
    if (node.parent == parent && node.tid == tid) break;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void StringTrie::Grow() {
  slots_.assign(2 * slots_.size(), -1);
  for (size_t i = 1; i < nodes_.size(); ++i) {
    slots_[Slot(nodes_[i].parent, nodes_[i].tid)] = static_cast<int32_t>(i);
  }
}

int32_t StringTrie::Successor(int32_t string, int32_t tid) {
  const size_t slot = Slot(string, tid);
  if (slots_[slot] >= 0) return slots_[slot];
  const auto added = static_cast<int32_t>(nodes_.size());
  slots_[slot] = added;
  nodes_.push_back({string, tid, nodes_[string].length + 1});
  if (2 * nodes_.size() > slots_.size()) Grow();
  return added;
}

int32_t StringTrie::Prefix(int32_t string, int32_t length) const {
  while (nodes_[string].length > length) string = nodes_[string].parent;
  return string;
}

int32_t StringTrie::CommonPrefix(int32_t a, int32_t b, int32_t limit) const {
  const int32_t length = std::min({Length(a), Length(b), limit});
  a = Prefix(a, length);
  b = Prefix(b, length);
  while (a != b) {
    a = nodes_[a].parent;
    b = nodes_[b].parent;
  }
  return Length(a);
}

void StringTrie::Get(int32_t string, std::vector<int32_t>* tids) const {
  tids->resize(Length(string));
  for (auto tid = tids->rbegin(); tid != tids->rend(); ++tid) {
    *tid = nodes_[string].tid;
    string = nodes_[string].parent;
  }
}

int32_t StringTrie::RemovePrefix(int32_t string, int32_t length) {
  if (length == 0) return string;
  Get(string, &scratch_);
  int32_t rest = 0;
  for (size_t i = length; i < scratch_.size(); ++i) rest = Successor(rest, scratch_[i]);
  return rest;
}

bool StringTrie::Before(int32_t a, int32_t b) const {
  if (Length(a) != Length(b)) return Length(a) > Length(b);
  bool before = false;
  for (; a != b; a = nodes_[a].parent, b = nodes_[b].parent) {
    if (nodes_[a].tid != nodes_[b].tid) before = nodes_[a].tid < nodes_[b].tid;
  }
  return before;
}

void StringTrie::Keep(const std::vector<int32_t*>& strings) {
  std::vector<int32_t> numbers(nodes_.size(), -1);
  for (const int32_t* string : strings) numbers[*string] = 0;
  for (size_t i = nodes_.size() - 1; i > 0; --i) {  // parents come before their children
    if (numbers[i] == 0) numbers[nodes_[i].parent] = 0;
  }
  const std::vector<Node> nodes = std::move(nodes_);
  Clear();
  numbers[0] = 0;
  for (size_t i = 1; i < nodes.size(); ++i) {
    if (numbers[i] == 0) numbers[i] = Successor(numbers[nodes[i].parent], nodes[i].tid);
  }
  for (int32_t* string : strings) *string = numbers[*string];
}

}  // namespace kdspeech
