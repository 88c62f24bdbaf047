// Models in shared libraries, in C++17: part of aot.hpp, which includes it where there is <dlfcn.h>.
#ifndef AOT_LIBRARY_HPP
#define AOT_LIBRARY_HPP

#include "aot.hpp"
#include "aot_load.h"

namespace aot {

// A model in a shared library. It must outlive its instances.
class Library {
public:
    Library() = default;
    explicit Library(const std::string &path) { open(*this, path).or_throw(); }
    Library(Library &&other) noexcept : library_(std::exchange(other.library_, {})) {}
    Library &operator=(Library &&other) noexcept {
        std::swap(library_, other.library_);
        return *this;
    }
    ~Library() { aot_library_close(&library_); }

    // The same as the constructor without exceptions; `library` is left alone after a failure.
    static Status open(Library &library, const std::string &path) {
        aot_library opened;
        char message[512];
        const aot_status code = aot_library_open(path.c_str(), &opened, message, sizeof message);
        if (code != AOT_OK) return {code, message};
        aot_library_close(&library.library_);
        library.library_ = opened;
        return {};
    }
    const aot_model &model() const { return *library_.model; }

private:
    aot_library library_{};
};

} // namespace aot

#endif // AOT_LIBRARY_HPP
