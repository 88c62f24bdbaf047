// A C++17 host of the sample model through aot.hpp. Prints "ok". With a path as argument it loads
// the model from that shared library too.
#include "sample.h"

#include "aot.hpp"

#include <algorithm>
#include <iostream>

#define REQUIRE(condition)                                                                    \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            std::cout << __FILE__ << ":" << __LINE__ << ": failed: " << #condition << "\n";   \
            std::exit(1);                                                                     \
        }                                                                                     \
    } while (0)

#if defined(__cpp_exceptions)
template <class Action> aot_status thrown(Action action) {
    try {
        action();
    } catch (const aot::Error &error) {
        REQUIRE(std::strlen(error.what()) > 0);
        return error.code();
    }
    return AOT_OK;
}
#endif

static void without_exceptions(const aot_model &c) {
    aot::Instance model;
    REQUIRE(model.find("forward") == nullptr);
    REQUIRE(aot::Instance::make(model, c).ok());
    const std::vector<float> x = {1, -1, 2, -3, 4, -5};
    std::vector<float> y(6);
    REQUIRE(model.run("forward", {{x, {2, 3}}}, {{y, {2, 3}}}).ok());
    REQUIRE((y == std::vector<float>{1, 0, 2, 0, 4, 0}));
    const aot::Status wrong = model.run("forward", {{x, {3, 2}}}, {{y, {2, 3}}});
    REQUIRE(!wrong && wrong.code() == AOT_INVALID_ARGUMENT);
    REQUIRE(wrong.message().find("'x'") != std::string::npos);
    REQUIRE(model.run("forward", {{x, {2, 3}}}, {{x, {2, 3}}}).code() == AOT_INVALID_ARGUMENT);
    REQUIRE(model.run("nothing", {}, {}).code() == AOT_NOT_FOUND);
    REQUIRE(model.run("forward", {}, {}).code() == AOT_INVALID_ARGUMENT);
    bool yes = true;
    const aot::Status raised = model.run("raise", {aot::Tensor(yes)}, {});
    REQUIRE(raised.code() == AOT_FAILED && raised.message() == model.message());
    aot::Instance moved = std::move(model);
    std::int64_t count = 0;
    REQUIRE(moved.run("count", {}, {aot::Tensor(count)}).ok() && count == 1);
}

#if defined(__cpp_exceptions)
static void with_exceptions(const aot_model &c) {
    aot::Instance model(c);
    std::array<float, 4> a = {1, 2, 3, 4};
    const std::array<std::int64_t, 2> pair = {10, 20};
    const double half = 0.5;
    const std::int64_t n = 3;
    const bool flag = false;
    const auto mixed = model.call("mix", {{a, {4}}, {pair, {2}}, aot::Tensor(half), aot::Tensor(n),
                                          aot::Tensor(flag)});
    REQUIRE(mixed.size() == 3 && mixed[0].values<float>()[3] == 2.0f);
    REQUIRE(mixed[1].values<std::int64_t>()[0] == 33 && mixed[2].values<bool>()[0]);
    REQUIRE(aot::same(mixed[0].dtype(), aot::dtype_of<float>()));
    REQUIRE(aot::text(mixed[0].dtype()) == "f32");
    REQUIRE(thrown([&] { mixed[0].values<double>(); }) == AOT_INVALID_ARGUMENT);
    const aot::Tensor fixed(pair, {2});
    REQUIRE(fixed.values<const std::int64_t>()[1] == 20);
    REQUIRE(thrown([&] { fixed.values<std::int64_t>(); }) == AOT_INVALID_ARGUMENT);

    std::vector<float> rows(6, 1.5f);
    const auto sums = model.call("add", {{rows, {3, 2}}, {rows, {3, 2}}});
    REQUIRE(sums[0].shape().size() == 2 && sums[0].shape()[0] == 3);
    for (float x : sums[0].values<float>()) REQUIRE(x == 3.0f);
    const auto again = model.call("add", {sums[0], sums[0]});
    REQUIRE(again[0].values<float>()[5] == 6.0f);

    REQUIRE(thrown([&] { aot::Tensor(rows, {7}); }) == AOT_INVALID_ARGUMENT);
    REQUIRE(thrown([&] { aot::Tensor(rows, {-2, -3}); }) == AOT_INVALID_ARGUMENT);
    REQUIRE(thrown([&] { aot::Tensor(rows, {0}); }) == AOT_INVALID_ARGUMENT);
    REQUIRE(thrown([&] {
                aot::Tensor(rows, {INT64_MAX, INT64_MAX, 6});
            }) == AOT_INVALID_ARGUMENT);
    REQUIRE(thrown([&] { model.call("nothing", {}); }) == AOT_NOT_FOUND);
    REQUIRE(thrown([&] { model.call("add", {}); }) == AOT_INVALID_ARGUMENT);
    const bool yes = true;
    REQUIRE(thrown([&] { model.call("raise", {aot::Tensor(yes)}); }) == AOT_FAILED);
    REQUIRE(thrown([] { aot::Library("./no/such.so"); }) == AOT_NOT_FOUND);
    REQUIRE(thrown([] { aot::Library("libm.so.6"); }) == AOT_INVALID_FILE);

    aot_model other = c;
    other.abi_version = 99;
    REQUIRE(thrown([&] { aot::Instance instance(other); }) == AOT_INVALID_FILE);
}
#endif

int main(int argc, char **argv) {
    without_exceptions(sample_model);
#if defined(__cpp_exceptions)
    with_exceptions(sample_model);
#endif
    if (argc > 1) {
        aot::Library library;
        REQUIRE(aot::Library::open(library, argv[1]).ok());
        REQUIRE(std::string(library.model().name) == "sample");
        REQUIRE(aot_find_method(&library.model(), "add") != nullptr);
        aot::Library moved = std::move(library);
        without_exceptions(moved.model());
    }
    aot::Instance typed;
    REQUIRE(aot::Instance::make(typed, sample_model).ok());
    float x[6] = {-1, 1}, y[6];
    REQUIRE(sample_forward(typed.as<sample_instance>(), x, y) == AOT_OK && y[0] == 0 && y[1] == 1);
    std::cout << "ok\n";
}
