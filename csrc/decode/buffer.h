// A growing array of plain values: like std::vector, but new values are not set, and room for many
// is made once instead of asked for at each.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

namespace kdspeech {

template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable<T>::value, "plain values only");

 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  int64_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

  // Makes room for `more` values behind the last one.
  void MakeRoom(int64_t more) {
    if (size_ + more <= capacity_) return;
    const int64_t capacity = 2 * (size_ + more);
    void* data = std::realloc(data_, sizeof(T) * capacity);
    if (!data) throw std::bad_alloc();
    data_ = static_cast<T*>(data);
    capacity_ = capacity;
  }
  // There must be room.
  void Push(const T& value) { data_[size_++] = value; }
  // There must be room up to `size`; new values are not set.
  void Resize(int64_t size) { size_ = size; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0, capacity_ = 0;
};

}  // namespace kdspeech
