#include "decode/lattice_io.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "decode/lattice_builder.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr int32_t kFstMagic = 2125659606;
constexpr int32_t kVectorFstVersion = 2;
constexpr uint64_t kExpandedAndMutable = 3;
constexpr int64_t kStateBytes = 16;  // at least: two floats and the number of arcs
constexpr char kStateLevelType[] = "lattice4";
constexpr char kCompactType[] = "compactlattice44";

struct Truncated {};  // thrown where the data end before the entry does

// ---- binary ----

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

// ---- text ----

// The fields of one line. A cost field is "graph,acoustic" or "graph,acoustic,tid_tid_..".
class TextLine {
 public:
  TextLine(const char* begin, const char* end) : line_(begin, end) {
    const char* separators = " \t\r";
    for (size_t at = line_.find_first_not_of(separators); at != std::string::npos;) {
      const size_t stop = std::min(line_.find_first_of(separators, at), line_.size());
      fields_.push_back(line_.substr(at, stop - at));
      at = line_.find_first_not_of(separators, stop);
    }
  }

  size_t Size() const { return fields_.size(); }
  bool HasWeight() const { return !fields_.empty() && NumCommas() > 0; }
  bool IsCompact() const { return NumCommas() == 2; }
  size_t NumLabels() const { return Size() - HasWeight(); }

  int32_t Integer(size_t i) const {
    char* end;
    const long value = std::strtol(fields_[i].c_str(), &end, 10);
    if (*end || value < 0 || value >= INT32_MAX) Fail();
    return static_cast<int32_t>(value);
  }
  LatticeCost Weight(std::vector<int32_t>* string) const {
    string->clear();
    LatticeCost cost;
    cost.graph_cost = cost.acoustic_cost = 0.0f;
    if (!HasWeight()) return cost;
    const char* at = fields_.back().c_str();
    cost.graph_cost = Float(&at);
    if (*at++ != ',') Fail();
    cost.acoustic_cost = Float(&at);
    if (*at == ',')
      ReadTids(at + 1, string);
    else if (*at)
      Fail();
    return cost;
  }
  [[noreturn]] void Fail() const {
    std::string shown = line_.substr(0, 80);
    for (char& c : shown) {
      if (c < ' ' || c > '~') c = '?';
    }
    throw InputError("not a line of a lattice: \"" + shown + "\"");
  }

 private:
  int NumCommas() const {
    int commas = 0;
    for (const char c : fields_.back()) commas += c == ',';
    return commas;
  }
  float Float(const char** at) const {
    char* end;
    const float value = std::strtof(*at, &end);
    if (end == *at || value != value) Fail();
    *at = end;
    return value;
  }
  void ReadTids(const char* at, std::vector<int32_t>* string) const {
    while (*at) {
      char* end;
      const long tid = std::strtol(at, &end, 10);
      if (end == at || (*end && *end != '_') || tid < 1 || tid >= INT32_MAX) Fail();
      string->push_back(static_cast<int32_t>(tid));
      at = *end ? end + 1 : end;
    }
  }

  std::string line_;
  std::vector<std::string> fields_;
};

// The lines until the empty one: "state next [tid] word [weight]", "state [weight]".
class TextLatticeReader {
 public:
  Lattice Read(const char** at, const char* end) {
    const std::vector<TextLine> lines = Lines(at, end);
    bool compact = false, state_level = false;
    for (const TextLine& line : lines) {
      const size_t labels = line.NumLabels();
      compact |= line.IsCompact() || (labels == 3 && !line.HasWeight());
      state_level |= labels == 4 || (line.HasWeight() && !line.IsCompact());
    }
    if (compact && state_level) throw InputError("its lines are partly of a compact lattice");
    LatticeBuilder builder(!state_level);
    for (const TextLine& line : lines) AddLine(line, state_level, &builder);
    return builder.Build();
  }

 private:
  static std::vector<TextLine> Lines(const char** at, const char* end) {
    std::vector<TextLine> lines;
    while (true) {
      const auto* stop = static_cast<const char*>(std::memchr(*at, '\n', end - *at));
      if (!stop) throw Truncated();
      lines.emplace_back(*at, stop);
      *at = stop + 1;
      if (lines.back().Size() == 0) break;
    }
    lines.pop_back();
    return lines;
  }

  void AddLine(const TextLine& line, bool state_level, LatticeBuilder* builder) {
    const size_t labels = line.NumLabels();
    if (labels != 1 && labels != (state_level ? 4u : 3u)) line.Fail();
    const LatticeCost cost = line.Weight(&string_);
    const int32_t string = builder->AddString(string_.data(), string_.data() + string_.size());
    const int32_t state = State(line.Integer(0), builder);
    if (labels == 1) {
      builder->SetFinal(state, cost, string);
      return;
    }
    LatticeArc arc;
    arc.nextstate = State(line.Integer(1), builder);
    arc.ilabel = state_level ? line.Integer(2) : string;
    arc.olabel = line.Integer(labels - 1);
    arc.graph_cost = cost.graph_cost;
    arc.acoustic_cost = cost.acoustic_cost;
    if (IsFinal(cost)) builder->AddArc(state, arc);
  }

  // The builder's state for the state the text calls `name`; the first is the start.
  int32_t State(int32_t name, LatticeBuilder* builder) {
    const auto found = states_.emplace(name, builder->NumStates());
    if (found.second) builder->AddState();
    return found.first->second;
  }

  std::vector<int32_t> string_;
  std::unordered_map<int32_t, int32_t> states_;
};

// The shortest of six or nine digits that reads back as the same number.
void AppendFloat(float value, std::string* out) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  if (std::strtof(text, nullptr) != value) std::snprintf(text, sizeof(text), "%.9g", value);
  out->append(text);
}

void AppendTextWeight(const LatticeView& lattice, float graph_cost, float acoustic_cost,
                      int32_t string, std::string* out) {
  AppendFloat(graph_cost, out);
  out->push_back(',');
  AppendFloat(acoustic_cost, out);
  if (!lattice.IsCompact()) return;
  out->push_back(',');
  const int32_t begin = lattice.string_offsets[string], end = lattice.string_offsets[string + 1];
  for (int32_t i = begin; i < end; ++i) {
    if (i > begin) out->push_back('_');
    out->append(std::to_string(lattice.tids[i]));
  }
}

void AppendTextArc(const LatticeView& lattice, int32_t state, const LatticeArc& arc,
                   std::string* out) {
  out->append(std::to_string(state) + '\t' + std::to_string(arc.nextstate) + '\t');
  if (!lattice.IsCompact()) out->append(std::to_string(arc.ilabel) + '\t');
  out->append(std::to_string(arc.olabel) + '\t');
  AppendTextWeight(lattice, arc.graph_cost, arc.acoustic_cost, arc.ilabel, out);
  out->push_back('\n');
}

// ---- either ----

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string ReadKey(const char** at, const char* end) {
  while (*at < end && IsSpace(**at)) ++*at;
  const char* begin = *at;
  while (*at < end && !IsSpace(**at)) ++*at;
  if (begin < end && *at == end) throw Truncated();
  return std::string(begin, *at);
}

Lattice ReadLattice(const char** at, const char* end) {
  if (**at == ' ') ++*at;
  if (*at == end) throw Truncated();
  if (**at == '\0') {
    BinaryReader in(*at + 1, end);
    if (in.Read<char>() != 'B') throw InputError("not a Kaldi lattice");
    const FstHeader header = ReadHeader(&in);
    Lattice lattice = BinaryLatticeReader(&in, header).Read();
    *at = in.Position();
    return lattice;
  }
  const auto* stop = static_cast<const char*>(std::memchr(*at, '\n', end - *at));
  if (!stop) throw Truncated();
  if (TextLine(*at, stop).Size()) throw InputError("not a Kaldi lattice");
  *at = stop + 1;
  return TextLatticeReader().Read(at, end);
}

}  // namespace

bool ReadArchiveEntry(const char* data, size_t size, ArchiveEntry* entry) {
  const char* at = data;
  try {
    entry->key = ReadKey(&at, data + size);
    if (!entry->key.empty()) entry->lattice = ReadLattice(&at, data + size);
  } catch (const Truncated&) {
    return false;
  }
  entry->size = at - data;
  return true;
}

std::string ArchiveEntryText(const std::string& key, const LatticeView& lattice) {
  std::string out = key + " \n";
  for (int32_t state = 0; state < lattice.num_states; ++state) {
    for (const LatticeArc* arc = lattice.Begin(state); arc < lattice.End(state); ++arc) {
      AppendTextArc(lattice, state, *arc, &out);
    }
    const LatticeCost& cost = lattice.finals[state];
    if (!IsFinal(cost)) continue;
    out.append(std::to_string(state) + '\t');
    const int32_t string = lattice.IsCompact() ? lattice.final_strings[state] : 0;
    AppendTextWeight(lattice, cost.graph_cost, cost.acoustic_cost, string, &out);
    out.push_back('\n');
  }
  return out + '\n';
}

std::string ArchiveEntryBinary(const std::string& key, const LatticeView& lattice) {
  std::string out = key + ' ' + '\0' + 'B';
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
