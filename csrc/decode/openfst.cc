#include "decode/openfst.h"

#include <cstring>
#include <string>

#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr int32_t kFstMagic = 2125659606;
constexpr int32_t kSymbolTableMagic = 2125658996;
constexpr int32_t kHasInputSymbols = 1, kHasOutputSymbols = 2, kIsAligned = 4;  // flags
constexpr int32_t kAlignedConstVersion = 1;
constexpr size_t kAlignment = 16;

// A state of a const FST; its arcs are arcs[first .. first + num_arcs).
struct ConstState {
  float final_cost;
  uint32_t first, num_arcs, num_input_epsilons, num_output_epsilons;
};

struct FileArc {
  int32_t ilabel, olabel;
  float cost;
  int32_t next;
};

// Takes values from the front of some bytes.
class Bytes {
 public:
  Bytes(const char* data, size_t size) : data_(data), size_(size) {}

  const char* Take(uint64_t size) {
    if (size > size_ - at_) throw InputError("graph: the file is cut short or damaged");
    at_ += size;
    return data_ + (at_ - size);
  }

  template <class T>
  T Read() {
    T value;
    std::memcpy(&value, Take(sizeof(T)), sizeof(T));
    return value;
  }

  std::string ReadString() {
    const int32_t size = Read<int32_t>();
    if (size < 0) throw InputError("graph: the file is damaged");
    return std::string(Take(size), size);
  }

  void Align() { Take((kAlignment - at_ % kAlignment) % kAlignment); }
  bool AtEnd() const { return at_ == size_; }
  size_t Left() const { return size_ - at_; }

 private:
  const char* data_;
  size_t size_, at_ = 0;
};

struct FstHead {
  std::string type;
  int32_t version, flags;
  int64_t start, num_states, num_arcs;
};

// The string as it may stand in a message.
std::string Printable(std::string text) {
  for (char& c : text) c = c > ' ' && c < 127 ? c : '?';
  return text.substr(0, 40);
}

void SkipSymbolTable(Bytes* bytes) {
  if (bytes->Read<int32_t>() != kSymbolTableMagic) {
    throw InputError("graph: the symbol table in the file is damaged");
  }
  bytes->ReadString();  // its name
  bytes->Read<int64_t>();
  const int64_t size = bytes->Read<int64_t>();
  for (int64_t i = 0; i < size; ++i) {
    bytes->ReadString();
    bytes->Read<int64_t>();
  }
}

FstHead ReadHead(Bytes* bytes) {
  if (bytes->Left() < 4 || bytes->Read<int32_t>() != kFstMagic) {
    throw InputError("graph: no OpenFst binary file (text? compile it with fstcompile)");
  }
  FstHead head;
  head.type = bytes->ReadString();
  const std::string arc_type = bytes->ReadString();
  head.version = bytes->Read<int32_t>();
  head.flags = bytes->Read<int32_t>();
  bytes->Read<uint64_t>();  // properties
  head.start = bytes->Read<int64_t>();
  head.num_states = bytes->Read<int64_t>();
  head.num_arcs = bytes->Read<int64_t>();
  if ((head.type != "const" && head.type != "vector") || arc_type != "standard") {
    throw InputError("graph: an FST of type " + Printable(head.type) + " with arcs of type " +
                     Printable(arc_type) + "; const or vector, standard expected (use fstconvert)");
  }
  if (head.flags & kHasInputSymbols) SkipSymbolTable(bytes);
  if (head.flags & kHasOutputSymbols) SkipSymbolTable(bytes);
  return head;
}

void AddState(const char* arcs, uint64_t num_arcs, float final_cost, GraphBuilder* builder,
              std::vector<GraphArc>* scratch) {
  scratch->resize(num_arcs);
  for (uint64_t i = 0; i < num_arcs; ++i) {
    FileArc arc;
    std::memcpy(&arc, arcs + i * sizeof(arc), sizeof(arc));
    (*scratch)[i] = {arc.ilabel, arc.olabel, arc.next, arc.cost};
  }
  builder->AddState(scratch->data(), static_cast<int64_t>(num_arcs), final_cost);
}

void ReadConst(const FstHead& head, Bytes* bytes, GraphBuilder* builder) {
  const bool aligned = (head.flags & kIsAligned) || head.version == kAlignedConstVersion;
  if (head.num_states < 0 || head.num_arcs < 0 ||
      uint64_t(head.num_states) > bytes->Left() / sizeof(ConstState) ||
      uint64_t(head.num_arcs) > bytes->Left() / sizeof(FileArc)) {
    throw InputError("graph: the file is cut short or damaged");
  }
  if (aligned) bytes->Align();
  const char* states = bytes->Take(sizeof(ConstState) * uint64_t(head.num_states));
  if (aligned) bytes->Align();
  const char* arcs = bytes->Take(sizeof(FileArc) * uint64_t(head.num_arcs));
  builder->Reserve(head.num_states, head.num_arcs);
  std::vector<GraphArc> scratch;
  uint64_t total = 0;
  for (int64_t s = 0; s < head.num_states; ++s) {
    ConstState state;
    std::memcpy(&state, states + s * sizeof(state), sizeof(state));
    total += state.num_arcs;
    if (uint64_t{state.first} + state.num_arcs > uint64_t(head.num_arcs) ||
        total > uint64_t(head.num_arcs)) {
      throw InputError("graph: the arcs of state " + std::to_string(s) + " lie outside the file");
    }
    AddState(arcs + sizeof(FileArc) * uint64_t{state.first}, state.num_arcs, state.final_cost,
             builder, &scratch);
  }
}

void ReadVector(const FstHead& head, Bytes* bytes, GraphBuilder* builder) {
  std::vector<GraphArc> scratch;
  // Written to a pipe, the number of states is unknown (-1).
  for (int64_t s = 0; head.num_states < 0 ? !bytes->AtEnd() : s < head.num_states; ++s) {
    const float final_cost = bytes->Read<float>();
    const int64_t num_arcs = bytes->Read<int64_t>();
    if (num_arcs < 0 || uint64_t(num_arcs) > bytes->Left() / sizeof(FileArc)) {
      throw InputError("graph: the file is cut short or damaged");
    }
    AddState(bytes->Take(sizeof(FileArc) * uint64_t(num_arcs)), num_arcs, final_cost, builder,
             &scratch);
  }
}

}  // namespace

Graph ReadOpenFst(const char* data, size_t size) {
  Bytes bytes(data, size);
  const FstHead head = ReadHead(&bytes);
  GraphBuilder builder;
  if (head.type == "const") {
    ReadConst(head, &bytes, &builder);
  } else {
    ReadVector(head, &bytes, &builder);
  }
  return builder.Build(head.start);
}

}  // namespace kdspeech
