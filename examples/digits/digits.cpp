// The digits again, in C++17 through aot.hpp: two threads with an instance each (the weights are
// shared, they are constants of the object), and the images that the model is least sure of.
//
//     c++ -std=c++17 -pthread digits.cpp digits.o aot_npy.o -o digits_cpp
//     ./digits_cpp images.npy labels.npy
#include "digits.h" // generated; carries aot.h

#include "aot.hpp"
#include "aot_npy.h"

#include <algorithm>
#include <array>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t side = 8, pixels = side * side, classes = 10, shown = 4;

struct Answer {
    std::size_t image = 0;
    int first = 0, second = 0; // the two likeliest digits
    float margin = 0;          // how far apart their logits are
};

// An .npy file's array, freed at the end of its scope.
struct File {
    explicit File(const std::string &path) {
        char message[256] = "";
        const aot_status code = aot_npy_read(path.c_str(), &array, message, sizeof message);
        aot::Status(code, message).or_throw();
    }
    File(const File &) = delete;
    File &operator=(const File &) = delete;
    ~File() { aot_npy_free(&array); }
    aot::Tensor view() { return aot::Tensor(aot_npy_view(&array)); }
    aot_npy array{};
};

Answer answer(const aot::Instance &model, const float *image, std::size_t index) {
    std::array<float, classes> logits{};
    model.run("forward", {{image, pixels, {1, 1, side, side}}}, {{logits, {1, classes}}})
        .or_throw();
    std::array<int, classes> order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    std::partial_sort(order.begin(), order.begin() + 2, order.end(), [&](int a, int b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    const auto logit = [&](int k) { return logits[static_cast<std::size_t>(k)]; };
    return {index, order[0], order[1], logit(order[0]) - logit(order[1])};
}

void draw(const float *image) {
    const std::string ink = " .:-=+*#%@";
    for (std::size_t i = 0; i < pixels; i++) {
        const char c = ink[static_cast<std::size_t>(std::clamp(image[i], 0.0f, 1.0f) * 9.99f)];
        std::cout << c << c << (i % side == side - 1 ? "\n" : "");
    }
}

int read(const std::string &images_path, const std::string &labels_path) {
    File images_file(images_path), labels_file(labels_path);
    const aot::Tensor images = images_file.view();
    const auto labels = labels_file.view().values<std::int64_t>();
    const auto shape = images.shape();
    if (shape.size() != 4 || images.size() != labels.size() * pixels || labels.size() == 0)
        aot::Status(AOT_INVALID_ARGUMENT, "expected images [N,1,8,8] and N labels").or_throw();
    const float *first = images.values<float>().data();

    std::vector<Answer> answers(labels.size());
    std::array<aot::Instance, 2> models{aot::Instance(digits_model), aot::Instance(digits_model)};
    std::array<std::string, 2> failures;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < models.size(); t++)
        threads.emplace_back([&, t] {
            try {
                for (std::size_t i = t; i < answers.size(); i += models.size())
                    answers[i] = answer(models[t], first + i * pixels, i);
            } catch (const aot::Error &error) {
                failures[t] = error.what();
            }
        });
    for (std::thread &thread : threads) thread.join();
    for (const std::string &failure : failures)
        if (!failure.empty()) aot::Status(AOT_FAILED, failure).or_throw();

    const auto right = std::count_if(answers.begin(), answers.end(), [&](const Answer &a) {
        return a.first == labels[a.image];
    });
    std::sort(answers.begin(), answers.end(),
              [](const Answer &a, const Answer &b) { return a.margin < b.margin; });
    std::cout << right << " of " << answers.size() << " digits read right by "
              << models.size() << " threads. It was least sure of these:\n\n";
    for (std::size_t i = 0; i < std::min(shown, answers.size()); i++) {
        const Answer &a = answers[i];
        draw(first + a.image * pixels);
        std::cout << "reads " << a.first << ", perhaps " << a.second << "; it is "
                  << labels[a.image] << "\n\n";
    }
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " IMAGES.npy LABELS.npy\n";
        return 2;
    }
    try {
        return read(argv[1], argv[2]);
    } catch (const aot::Error &error) {
        std::cerr << "digits: " << error.what() << "\n";
        return error.code() == AOT_FAILED || error.code() == AOT_UNSUPPORTED_CPU ? 1 : 2;
    }
}
