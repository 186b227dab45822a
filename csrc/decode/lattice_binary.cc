#include <cstring>

#include "decode/lattice_builder.h"
#include "decode/lattice_format.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr int32_t kFstMagic = 2125659606;
constexpr int32_t kVectorFstVersion = 2;
constexpr uint64_t kExpandedAndMutable = 3;
constexpr int64_t kStateBytes = 16;  // at least: two floats and the number of arcs
constexpr char kStateLevelType[] = "lattice4";
constexpr char kCompactType[] = "compactlattice44";

class BinaryReader {
 public:
  BinaryReader(const char* data, const char* end) : data_(data), end_(end) {}

  const char* Position() const { return data_; }
  template <class T>
  T Read() {
    T value;
    Need(sizeof(T));
    std::memcpy(&value, data_, sizeof(T));
    data_ += sizeof(T);
    return value;
  }
  std::string ReadString() {
    const int32_t size = Read<int32_t>();
    if (size < 0 || size > 1000) throw InputError("not a Kaldi lattice (no OpenFst header)");
    Need(size);
    data_ += size;
    return std::string(data_ - size, size);
  }
  const char* Take(size_t size) {
    Need(size);
    data_ += size;
    return data_ - size;
  }
  void Need(size_t size) const {
    if (static_cast<size_t>(end_ - data_) < size) throw Truncated();
  }

 private:
  const char *data_, *end_;
};

struct FstHeader {
  bool compact = false;
  int64_t start = -1, num_states = 0;
};

FstHeader ReadHeader(BinaryReader* in) {
  if (in->Read<int32_t>() != kFstMagic) {
    throw InputError("not a Kaldi lattice (no OpenFst header)");
  }
  const std::string fst_type = in->ReadString(), arc_type = in->ReadString();
  if (fst_type != "vector" || (arc_type != kStateLevelType && arc_type != kCompactType)) {
    throw InputError("not a Kaldi lattice but an FST of another kind");
  }
  in->Read<int32_t>();  // version
  if (in->Read<int32_t>() & 3) throw InputError("lattices with symbol tables are not supported");
  in->Read<uint64_t>();  // properties
  FstHeader header;
  header.compact = arc_type == kCompactType;
  header.start = in->Read<int64_t>();
  header.num_states = in->Read<int64_t>();
  in->Read<int64_t>();  // number of arcs
  if (header.num_states < 0 || header.num_states >= INT32_MAX ||
      header.start >= header.num_states) {
    throw InputError("damaged: the header's number of states makes no sense");
  }
  return header;
}

class BinaryLatticeReader {
 public:
  BinaryLatticeReader(BinaryReader* in, const FstHeader& header)
      : in_(in), header_(header), builder_(header.compact) {}

  Lattice Read() {
    const auto num_states = static_cast<int32_t>(header_.num_states);
    in_->Need(kStateBytes * header_.num_states);
    builder_.AddStates(num_states);
    for (int32_t state = 0; state < num_states; ++state) ReadState(state);
    if (header_.start < 0) return LatticeBuilder(header_.compact).Build();
    return builder_.Build(static_cast<int32_t>(header_.start));
  }

 private:
  void ReadState(int32_t state) {
    int32_t string;
    const LatticeCost cost = ReadWeight(&string);
    builder_.SetFinal(state, cost, string);
    const int64_t num_arcs = in_->Read<int64_t>();
    if (num_arcs < 0) throw InputError("damaged: a negative number of arcs");
    for (int64_t i = 0; i < num_arcs; ++i) ReadArc(state);
  }

  void ReadArc(int32_t state) {
    LatticeArc arc;
    arc.ilabel = in_->Read<int32_t>();
    arc.olabel = in_->Read<int32_t>();
    int32_t string;
    const LatticeCost cost = ReadWeight(&string);
    arc.nextstate = in_->Read<int32_t>();
    if (header_.compact) arc.ilabel = string;
    if (arc.nextstate < 0 || arc.nextstate >= header_.num_states) {
      throw InputError("damaged: an arc leads to state " + std::to_string(arc.nextstate) + " of " +
                       std::to_string(header_.num_states));
    }
    arc.graph_cost = cost.graph_cost;
    arc.acoustic_cost = cost.acoustic_cost;
    if (IsFinal(cost)) builder_.AddArc(state, arc);
  }

  LatticeCost ReadWeight(int32_t* string) {
    LatticeCost cost;
    cost.graph_cost = in_->Read<float>();
    cost.acoustic_cost = in_->Read<float>();
    *string = 0;
    if (!header_.compact) return cost;
    const int32_t size = in_->Read<int32_t>();
    if (size < 0) throw InputError("damaged: a negative number of transition ids");
    const char* tids = in_->Take(sizeof(int32_t) * size);
    string_.resize(size);
    if (size) std::memcpy(string_.data(), tids, sizeof(int32_t) * size);
    *string = builder_.AddString(string_.data(), string_.data() + size);
    return cost;
  }

  BinaryReader* in_;
  FstHeader header_;
  LatticeBuilder builder_;
  std::vector<int32_t> string_;
};

template <class T>
void Append(const T& value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void AppendString(const std::string& value, std::string* out) {
  Append(static_cast<int32_t>(value.size()), out);
  out->append(value);
}

void AppendWeight(const LatticeView& lattice, float graph_cost, float acoustic_cost, int32_t string,
                  std::string* out) {
  Append(graph_cost, out);
  Append(acoustic_cost, out);
  if (!lattice.IsCompact()) return;
  const int32_t begin = lattice.string_offsets[string], end = lattice.string_offsets[string + 1];
  Append(end - begin, out);
  out->append(reinterpret_cast<const char*>(lattice.tids + begin), sizeof(int32_t) * (end - begin));
}

}  // namespace

Lattice ReadBinaryLattice(const char** at, const char* end) {
  BinaryReader in(*at, end);
  const FstHeader header = ReadHeader(&in);
  Lattice lattice = BinaryLatticeReader(&in, header).Read();
  *at = in.Position();
  return lattice;
}

std::string BinaryLattice(const LatticeView& lattice) {
  std::string out;
  Append(kFstMagic, &out);
  AppendString("vector", &out);
  AppendString(lattice.IsCompact() ? kCompactType : kStateLevelType, &out);
  Append(kVectorFstVersion, &out);
  Append(int32_t{0}, &out);  // no symbol tables
  Append(kExpandedAndMutable, &out);
  Append(int64_t{lattice.num_states ? 0 : -1}, &out);
  Append(int64_t{lattice.num_states}, &out);
  Append(int64_t{lattice.NumArcs()}, &out);
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    const LatticeCost& cost = lattice.finals[state];
    AppendWeight(lattice, cost.graph_cost, cost.acoustic_cost,
                 lattice.IsCompact() ? lattice.final_strings[state] : 0, &out);
    Append(int64_t{lattice.End(state) - lattice.Begin(state)}, &out);
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      Append(lattice.IsCompact() ? arc->olabel : arc->ilabel, &out);
      Append(arc->olabel, &out);
      AppendWeight(lattice, arc->graph_cost, arc->acoustic_cost, arc->ilabel, &out);
      Append(arc->nextstate, &out);
    }
  }
  return out;
}

}  // namespace kdspeech
