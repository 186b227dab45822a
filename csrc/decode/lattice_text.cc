#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "decode/lattice_builder.h"
#include "decode/lattice_format.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

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

}  // namespace

Lattice ReadTextLattice(const char** at, const char* end) {
  return TextLatticeReader().Read(at, end);
}

std::string TextLattice(const LatticeView& lattice) {
  std::string out;
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

}  // namespace kdspeech
