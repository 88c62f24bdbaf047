// Compiled models in C++17: a thin, header-only layer over aot.h.
//
//     #include "digits.h"   // generated, or nothing: aot::Library loads a shared library
//     #include "aot.hpp"
//
//     aot::Instance model(digits_model);                  // owns one instance's memory
//     std::array<float, 64> image = ...;
//     const auto outputs = model.call("forward", {aot::Tensor(image, {1, 1, 8, 8})});
//     for (float logit : outputs[0].values<float>()) ...
//
// Without allocation: give the outputs too, model.run("forward", {x}, {y}). With the compiler's own
// type check: the typed entry, digits_forward(model.as<digits_instance>(), x, y).
//
// Errors: run, make and open return a Status that must be looked at; constructors, call and
// Status::or_throw throw aot::Error. With -fno-exceptions those print the message and abort; use
// the former. Tensor views memory of the caller, Array owns it. Instances can be moved, not copied;
// one runs one call at a time, several run at the same time.
#ifndef AOT_HPP
#define AOT_HPP

#include "aot.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace aot {

// ---- Errors -------------------------------------------------------------------------------------

class Error : public std::runtime_error {
public:
    Error(aot_status code, const std::string &message) : std::runtime_error(message), code_(code) {}
    aot_status code() const noexcept { return code_; }

private:
    aot_status code_;
};

// The outcome of a call: `if (Status s = model.run(...); !s) log(s.message());`
class [[nodiscard]] Status {
public:
    Status() = default;
    Status(aot_status code, std::string message) : code_(code), message_(std::move(message)) {
        if (code_ != AOT_OK && message_.empty()) message_ = aot_status_text(code_);
    }
    bool ok() const noexcept { return code_ == AOT_OK; }
    explicit operator bool() const noexcept { return ok(); }
    aot_status code() const noexcept { return code_; }
    const std::string &message() const noexcept { return message_; }

    void or_throw() const {
        if (ok()) return;
#if defined(__cpp_exceptions)
        throw Error(code_, message_);
#else
        std::fprintf(stderr, "aot: %s\n", message_.c_str());
        std::abort();
#endif
    }

private:
    aot_status code_ = AOT_OK;
    std::string message_;
};

// ---- Element types ------------------------------------------------------------------------------

enum class f16 : std::uint16_t {};  // the bits of an IEEE half
enum class bf16 : std::uint16_t {}; // the bits of a bfloat16

template <class T> constexpr aot_dtype dtype_of() {
    using U = std::remove_cv_t<T>;
    constexpr auto make = [](int code) {
        return aot_dtype{static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(sizeof(U) * 8),
                         1};
    };
    if constexpr (std::is_same_v<U, bool>) return make(AOT_BOOL);
    else if constexpr (std::is_same_v<U, f16>) return make(AOT_FLOAT);
    else if constexpr (std::is_same_v<U, bf16>) return make(AOT_BFLOAT);
    else if constexpr (std::is_same_v<U, float> || std::is_same_v<U, double>)
        return make(AOT_FLOAT);
    else {
        static_assert(std::is_integral_v<U> && (std::is_signed_v<U> || sizeof(U) == 1),
                      "models take float, double, f16, bf16, int8 to int64, uint8 and bool");
        return make(std::is_signed_v<U> ? AOT_SIGNED : AOT_UNSIGNED);
    }
}

inline bool same(aot_dtype a, aot_dtype b) {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

// "f32"
inline std::string text(aot_dtype dtype) {
    if (dtype.code == AOT_BOOL) return "bool";
    const char *kind = dtype.code == AOT_FLOAT    ? "f"
                       : dtype.code == AOT_BFLOAT ? "bf"
                       : dtype.code == AOT_SIGNED ? "i"
                                                  : "u";
    return kind + std::to_string(dtype.bits);
}

// The elements of a tensor, for range-for and indexing. (std::span is C++20.)
template <class T> class Span {
public:
    Span(T *data, std::size_t size) : data_(data), size_(size) {}
    T *begin() const noexcept { return data_; }
    T *end() const noexcept { return data_ + size_; }
    T *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    T &operator[](std::size_t i) const { return data_[i]; }

private:
    T *data_;
    std::size_t size_;
};

// ---- Tensors ------------------------------------------------------------------------------------

constexpr std::size_t max_dims = 16;

// A contiguous view of elements that somebody else owns. Copying copies the view. A view of const
// elements can be an input only.
class Tensor {
public:
    using Shape = std::initializer_list<std::int64_t>;

    // `count` elements at data; throws Error if the shape has another number of elements.
    template <class T>
    Tensor(T *data, std::size_t count, const std::int64_t *shape, std::size_t ndim)
        : data_(const_cast<std::remove_cv_t<T> *>(data)), dtype_(dtype_of<T>()),
          writable_(!std::is_const_v<T>), ndim_(ndim) {
        if (ndim > max_dims) Status(AOT_INVALID_ARGUMENT, "more than 16 dims").or_throw();
        for (std::size_t i = 0; i < ndim; i++) shape_[i] = shape[i];
        if (!fits(count))
            Status(AOT_INVALID_ARGUMENT, "a tensor of shape " + shape_text() + " cannot view " +
                                             std::to_string(count) + " elements")
                .or_throw();
    }
    template <class T>
    Tensor(T *data, std::size_t count, Shape shape)
        : Tensor(data, count, shape.begin(), shape.size()) {}
    // Anything with data() and size(): std::vector, std::array, std::span.
    template <class Range, class = decltype(std::declval<Range &>().data())>
    Tensor(Range &elements, Shape shape) : Tensor(elements.data(), elements.size(), shape) {}
    // A scalar: Tensor(n).
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
    explicit Tensor(T &scalar) : Tensor(&scalar, 1, nullptr, 0) {}
    // A string of the caller's, which ends with a NUL.
    explicit Tensor(const char *text)
        : Tensor(reinterpret_cast<const std::uint8_t *>(text), 1, nullptr, 0) {}
    // What a C interface or DLPack gives: contiguous, on the CPU.
    explicit Tensor(const aot_tensor &c)
        : data_(static_cast<char *>(c.data) + c.byte_offset), dtype_(c.dtype), writable_(true),
          ndim_(static_cast<std::size_t>(c.ndim)) {
        if (c.ndim < 0 || ndim_ > max_dims || c.device.type != AOT_CPU || c.strides != nullptr)
            Status(AOT_INVALID_ARGUMENT, "expected a contiguous tensor of at most 16 dims on the CPU")
                .or_throw();
        for (std::size_t i = 0; i < ndim_; i++) shape_[i] = c.shape[i];
    }

    aot_dtype dtype() const noexcept { return dtype_; }
    Span<const std::int64_t> shape() const noexcept { return {shape_.data(), ndim_}; }
    void *data() const noexcept { return data_; }
    bool writable() const noexcept { return writable_; }
    std::size_t size() const noexcept {
        std::size_t count = 1;
        for (std::size_t i = 0; i < ndim_; i++) count *= static_cast<std::size_t>(shape_[i]);
        return count;
    }
    // The elements; throws Error if they are of another type, or const and T is not.
    template <class T> Span<T> values() const {
        if (!writable_ && !std::is_const_v<T>)
            Status(AOT_INVALID_ARGUMENT, "the elements are const").or_throw();
        if (!same(dtype_, dtype_of<T>()))
            Status(AOT_INVALID_ARGUMENT, "the elements are " + text(dtype_) + ", not " +
                                             text(dtype_of<T>()))
                .or_throw();
        return {static_cast<T *>(data_), size()};
    }
    // For C calls; points into this object and is good as long as it stays.
    aot_tensor c() const noexcept {
        return aot_tensor_of(data_, dtype_, static_cast<std::int32_t>(ndim_),
                             const_cast<std::int64_t *>(shape_.data()));
    }

private:
    bool fits(std::size_t count) const {
        std::size_t left = count;
        for (std::size_t i = 0; i < ndim_; i++) {
            if (shape_[i] < 0) return false;
            if (shape_[i] == 0) return count == 0;
        }
        for (std::size_t i = 0; i < ndim_; i++) { // by division: no overflow
            const auto size = static_cast<std::size_t>(shape_[i]);
            if (left % size != 0) return false;
            left /= size;
        }
        return left == 1;
    }
    std::string shape_text() const {
        std::string result = "[";
        for (std::size_t i = 0; i < ndim_; i++)
            result += (i ? "," : "") + std::to_string(shape_[i]);
        return result + "]";
    }

    void *data_;
    aot_dtype dtype_;
    bool writable_;
    std::size_t ndim_;
    std::array<std::int64_t, max_dims> shape_{};
};

struct Release {
    void operator()(void *memory) const noexcept { aot_release(memory); }
};

// Frees an instance, and first what the model allocated for it.
struct ReleaseInstance {
    void (*release)(void *) = nullptr;
    void operator()(void *memory) const noexcept {
        if (release != nullptr) release(memory);
        aot_release(memory);
    }
};

// A tensor that owns its elements, 64-byte aligned. Can be moved, not copied.
class Array {
public:
    Array(std::unique_ptr<void, Release> memory, const Tensor &view)
        : memory_(std::move(memory)), view_(view) {}
    const Tensor &view() const noexcept { return view_; }
    operator const Tensor &() const noexcept { return view_; }
    aot_dtype dtype() const noexcept { return view_.dtype(); }
    Span<const std::int64_t> shape() const noexcept { return view_.shape(); }
    std::size_t size() const noexcept { return view_.size(); }
    template <class T> Span<T> values() const { return view_.values<T>(); }
    // Of an output that is a string.
    std::string string() const { return {static_cast<const char *>(view_.data()), size()}; }

private:
    std::unique_ptr<void, Release> memory_;
    Tensor view_;
};

// ---- Models -------------------------------------------------------------------------------------

// One instance of a model, in memory of its own.
class Instance {
public:
    Instance() = default;
    // Throws Error: this CPU cannot run the model, no memory.
    explicit Instance(const aot_model &model, const aot_options *options = nullptr) {
        make(*this, model, options).or_throw();
    }
    Instance(Instance &&) noexcept = default;
    Instance &operator=(Instance &&) noexcept = default;

    // The same without exceptions; `instance` is left alone after a failure.
    static Status make(Instance &instance, const aot_model &model,
                       const aot_options *options = nullptr) {
        if (model.abi_version != AOT_ABI_VERSION || model.struct_size != sizeof(aot_model))
            return {AOT_INVALID_FILE, "the model has another ABI version than this header"};
        std::unique_ptr<void, Release> memory(
            aot_allocate(model.instance_size, model.instance_alignment));
        if (memory == nullptr) return {AOT_OUT_OF_MEMORY, ""};
        if (aot_status code = model.init(memory.get(), options); code != AOT_OK)
            return {code, model.message(memory.get())};
        instance.model_ = &model;
        instance.memory_ = {memory.release(), ReleaseInstance{model.release}};
        return {};
    }

    const aot_model &model() const { return *model_; }
    // For C calls: the memory, and as the generated type of the model that this is an instance of.
    void *get() const noexcept { return memory_.get(); }
    template <class T> T *as() const noexcept { return static_cast<T *>(memory_.get()); }
    // What went wrong in the last call.
    std::string message() const { return model_ ? model_->message(memory_.get()) : ""; }
    // The method, or NULL. Of several signatures of one name the first.
    const aot_method *find(std::string_view name) const noexcept {
        for (std::int32_t m = 0; model_ != nullptr && m < model_->num_methods; m++)
            if (name == model_->methods[m].name) return &model_->methods[m];
        return nullptr;
    }
    // Of several signatures the first that the inputs fit; where none does, the first of all, whose
    // run says what is wrong.
    const aot_method *find(std::string_view name, const Tensor *inputs,
                           std::size_t num_inputs) const noexcept {
        for (std::int32_t m = 0; model_ != nullptr && m < model_->num_methods; m++) {
            const aot_method &method = model_->methods[m];
            if (name != method.name || num_inputs != static_cast<std::size_t>(method.num_inputs))
                continue;
            std::size_t i = 0;
            for (; i < num_inputs; i++)
                if (const aot_tensor c = inputs[i].c(); !aot_fits(&c, &method.inputs[i])) break;
            if (i == num_inputs) return &method;
        }
        return find(name);
    }

    // ---- What the model keeps from call to call -------------------------------------------------

    // Back to the start.
    Status reset() const { return state([&] { return model_->reset(memory_.get()); }); }
    // Begins the random numbers anew: PyTorch's after torch.manual_seed(seed).
    Status seed(std::uint64_t seed) const {
        if (model_->seed == nullptr) return {}; // it draws none
        return state([&] { return model_->seed(memory_.get(), seed); });
    }
    // An instance with the same state, made with the given options. Throws Error.
    Instance copy(const aot_options *options = nullptr) const {
        Instance other(model(), options);
        other.state([&] { return model_->copy(other.get(), get()); }).or_throw();
        return other;
    }
    // The state as bytes, for this process or another; none where the model keeps nothing.
    std::vector<unsigned char> save() const {
        std::vector<unsigned char> bytes(static_cast<std::size_t>(model_->state_size));
        state([&] { return model_->save(memory_.get(), bytes.data()); }).or_throw();
        return bytes;
    }
    // Puts the state back to what `save` gave; bytes that are no such are refused.
    Status restore(const std::vector<unsigned char> &bytes) const {
        if (model_->state_size == 0 && bytes.size() != 0)
            return {AOT_INVALID_ARGUMENT, "the model keeps nothing from call to call"};
        return state([&] { return model_->restore(memory_.get(), bytes.data(), bytes.size()); });
    }

    // Runs a method into outputs that the caller gives. Nothing is allocated if all goes well, but
    // for what the model itself needs for tensors of run-time sizes. Such an output is not for the
    // caller to give: a method that has one is run with `call`, or through aot_method.run.
    Status run(std::string_view method, std::initializer_list<Tensor> inputs,
               std::initializer_list<Tensor> outputs) const {
        return run(method, inputs.begin(), inputs.size(), outputs.begin(), outputs.size());
    }
    Status run(std::string_view method, const Tensor *inputs, std::size_t num_inputs,
               const Tensor *outputs, std::size_t num_outputs) const {
        const aot_method *m = find(method, inputs, num_inputs);
        if (m == nullptr) return {AOT_NOT_FOUND, "no method '" + std::string(method) + "'"};
        if (num_inputs != static_cast<std::size_t>(m->num_inputs) ||
            num_outputs != static_cast<std::size_t>(m->num_outputs))
            return {AOT_INVALID_ARGUMENT,
                    std::string(method) + ": expected " + std::to_string(m->num_inputs) +
                        " inputs and " + std::to_string(m->num_outputs) + " outputs, found " +
                        std::to_string(num_inputs) + " and " + std::to_string(num_outputs)};
        for (std::size_t i = 0; i < num_outputs; i++)
            if (!outputs[i].writable())
                return {AOT_INVALID_ARGUMENT, std::string(method) + ": an output is const"};
        std::array<aot_tensor, 16> few;
        std::vector<aot_tensor> many;
        aot_tensor *tensors = few.data();
        if (num_inputs + num_outputs > few.size()) {
            many.resize(num_inputs + num_outputs);
            tensors = many.data();
        }
        for (std::size_t i = 0; i < num_inputs; i++) tensors[i] = inputs[i].c();
        for (std::size_t i = 0; i < num_outputs; i++) tensors[num_inputs + i] = outputs[i].c();
        for (std::size_t i = 0; i < num_outputs; i++)
            if (sized_by_run(m->outputs[i]))
                return {AOT_INVALID_ARGUMENT,
                        std::string(method) + ": the size of output " + m->outputs[i].name +
                            " is known only after the run: use call"};
        const aot_status code = m->run(memory_.get(), tensors, tensors + num_inputs);
        if (code != AOT_OK) return {code, message()};
        return {};
    }

    // Runs a method into new arrays; throws Error.
    std::vector<Array> call(std::string_view method, std::initializer_list<Tensor> inputs) const {
        return call(method, inputs.begin(), inputs.size());
    }
    std::vector<Array> call(std::string_view method, const Tensor *inputs,
                            std::size_t num_inputs) const {
        std::vector<Array> arrays;
        std::vector<Tensor> outputs;
        const aot_method *m = find(method, inputs, num_inputs);
        for (std::int32_t i = 0; m != nullptr && i < m->num_outputs; i++)
            if (sized_by_run(m->outputs[i])) return call_sized(*m, inputs, num_inputs);
        if (m != nullptr) {
            std::vector<std::int64_t> dims = learn_dims(*m, inputs, num_inputs);
            for (std::int32_t i = 0; i < m->num_outputs; i++)
                arrays.push_back(allocate(m->outputs[i], dims));
            for (const Array &array : arrays) outputs.push_back(array.view());
        }
        run(method, inputs, num_inputs, outputs.data(), outputs.size()).or_throw();
        return arrays;
    }

private:
    template <class F> Status state(F function) const {
        if (model_->state_size == 0) return {}; // nothing is kept
        const aot_status code = function();
        return code == AOT_OK ? Status() : Status(code, message());
    }
    static bool sized_by_run(const aot_value_info &info) noexcept {
        return aot_is_made(&info) != 0;
    }
    // `call` of a method with outputs of run-time sizes: copies of what the instance has.
    std::vector<Array> call_sized(const aot_method &m, const Tensor *inputs,
                                  std::size_t num_inputs) const {
        if (num_inputs != static_cast<std::size_t>(m.num_inputs))
            Status(AOT_INVALID_ARGUMENT, std::string(m.name) + ": expected " +
                                             std::to_string(m.num_inputs) + " inputs")
                .or_throw();
        const auto count = static_cast<std::size_t>(m.num_outputs);
        const std::vector<std::int64_t> dims = learn_dims(m, inputs, num_inputs);
        std::vector<Array> arrays;
        std::vector<std::array<std::int64_t, max_dims>> shapes(count);
        std::vector<aot_tensor> given, results;
        arrays.reserve(count); // results point into them
        for (std::size_t i = 0; i < num_inputs; i++) given.push_back(inputs[i].c());
        for (std::size_t i = 0; i < count; i++) {
            const aot_value_info &info = m.outputs[i];
            if (static_cast<std::size_t>(info.ndim) > max_dims)
                Status(AOT_INVALID_ARGUMENT, "an output has more than 16 dims").or_throw();
            for (std::size_t d = 0; d < static_cast<std::size_t>(info.ndim); d++)
                shapes[i][d] = info.shape[d] == AOT_RUN_TIME_SIZE ? 0 : info.shape[d];
            // A place holder where the run decides: of the sizes known, without elements.
            aot_value_info known = info;
            known.shape = sized_by_run(info) ? shapes[i].data() : info.shape;
            arrays.push_back(allocate(known, dims));
            results.push_back(sized_by_run(info) ? aot_tensor_of(nullptr, info.dtype, info.ndim,
                                                                 shapes[i].data())
                                                 : arrays[i].view().c());
        }
        if (const aot_status code = m.run(memory_.get(), given.data(), results.data());
            code != AOT_OK)
            Status(code, message()).or_throw();
        for (std::size_t i = 0; i < count; i++) {
            if (!sized_by_run(m.outputs[i])) continue;
            aot_value_info known = m.outputs[i];
            known.shape = shapes[i].data();
            if (known.kind == AOT_KIND_STRING) {
                known.ndim = 1;
                shapes[i][0] = static_cast<std::int64_t>(
                    std::strlen(static_cast<const char *>(results[i].data)));
            }
            arrays[i] = allocate(known, dims);
            const std::size_t bytes = arrays[i].size() * (known.dtype.bits / 8u);
            if (bytes != 0) std::memcpy(arrays[i].view().data(), results[i].data, bytes);
        }
        return arrays;
    }
    // Sizes of the named dims; what does not fit is left to the model's own check.
    static std::vector<std::int64_t> learn_dims(const aot_method &m, const Tensor *inputs,
                                                std::size_t num_inputs) {
        std::vector<std::int64_t> dims(static_cast<std::size_t>(m.num_dims), 0);
        for (std::size_t i = 0; i < num_inputs && i < static_cast<std::size_t>(m.num_inputs); i++) {
            const aot_value_info &info = m.inputs[i];
            for (std::size_t d = 0; d < static_cast<std::size_t>(info.ndim); d++)
                if (info.shape[d] < 0 && d < inputs[i].shape().size())
                    dims[static_cast<std::size_t>(-1 - info.shape[d])] = inputs[i].shape()[d];
        }
        return dims;
    }
    static Array allocate(const aot_value_info &info, const std::vector<std::int64_t> &dims) {
        std::array<std::int64_t, max_dims> shape{};
        if (static_cast<std::size_t>(info.ndim) > max_dims)
            Status(AOT_INVALID_ARGUMENT, "an output has more than 16 dims").or_throw();
        std::uint64_t bytes = info.dtype.bits / 8u;
        for (std::size_t d = 0; d < static_cast<std::size_t>(info.ndim); d++) {
            const std::int64_t size = info.shape[d];
            shape[d] = size >= 0 ? size : dims[static_cast<std::size_t>(-1 - size)];
            if (shape[d] != 0 && bytes > UINT64_MAX / static_cast<std::uint64_t>(shape[d]))
                Status(AOT_OUT_OF_MEMORY, "").or_throw();
            bytes *= static_cast<std::uint64_t>(shape[d]);
        }
        std::unique_ptr<void, Release> memory(aot_allocate(bytes, 64));
        if (memory == nullptr) Status(AOT_OUT_OF_MEMORY, "").or_throw();
        const Tensor view(aot_tensor_of(memory.get(), info.dtype, info.ndim, shape.data()));
        return Array(std::move(memory), view);
    }

    const aot_model *model_ = nullptr;
    std::unique_ptr<void, ReleaseInstance> memory_;
};

} // namespace aot

#if defined(__has_include)
#if __has_include(<dlfcn.h>)
#include "aot_library.hpp"
#endif
#endif

#endif // AOT_HPP
