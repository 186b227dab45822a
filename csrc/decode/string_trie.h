// Strings of transition ids that share their beginnings: a string is a number, 0 the empty one,
// and equal strings have equal numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kdspeech {

class StringTrie {
 public:
  StringTrie() { Clear(); }

  void Clear();
  int32_t Successor(int32_t string, int32_t tid);  // `string` and then `tid`
  int32_t Length(int32_t string) const { return nodes_[string].length; }
  // How many transition ids two strings begin with alike, at most `limit`.
  int32_t CommonPrefix(int32_t a, int32_t b, int32_t limit) const;
  int32_t Prefix(int32_t string, int32_t length) const;  // of a string that is no shorter
  int32_t RemovePrefix(int32_t string, int32_t length);
  // Kaldi's order of strings of equal cost: the longer one, then the lexicographically first.
  bool Before(int32_t a, int32_t b) const;
  void Get(int32_t string, std::vector<int32_t>* tids) const;

  int64_t Bytes() const { return nodes_.size() * sizeof(Node) + slots_.size() * sizeof(int32_t); }
  // Forgets all strings but these and their beginnings, and renumbers these.
  void Keep(const std::vector<int32_t*>& strings);

 private:
  struct Node {
    int32_t parent, tid, length;
  };

  size_t Slot(int32_t parent, int32_t tid) const;
  void Grow();

  std::vector<Node> nodes_;
  std::vector<int32_t> slots_;  // an open hash table of nodes, -1: free
  mutable std::vector<int32_t> scratch_;
};

}  // namespace kdspeech
