// A file in memory, read-only: its pages are shared by all processes that map it.
#pragma once

#include <cstddef>
#include <string>

namespace kdspeech {

class MappedFile {
 public:
  // Throws InputError where the file cannot be read.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* Data() const { return data_; }
  size_t Size() const { return size_; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace kdspeech
