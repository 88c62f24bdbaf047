/* The figures of aot.h's layout comment, asserted by the compiler: C11 or C++11. */
#include "aot.h"

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#endif
#define AT(type, member, offset) CHECK(offsetof(type, member) == (offset))

CHECK(sizeof(void *) == 8);
CHECK(sizeof(aot_status) == 4);
CHECK(sizeof(aot_dtype) == 4);

CHECK(sizeof(aot_tensor) == 48);
AT(aot_tensor, data, 0);
AT(aot_tensor, device.type, 8);
AT(aot_tensor, device.id, 12);
AT(aot_tensor, ndim, 16);
AT(aot_tensor, dtype.code, 20);
AT(aot_tensor, dtype.bits, 21);
AT(aot_tensor, dtype.lanes, 22);
AT(aot_tensor, shape, 24);
AT(aot_tensor, strides, 32);
AT(aot_tensor, byte_offset, 40);

CHECK(sizeof(aot_options) == 48);
AT(aot_options, threads, 0);
AT(aot_options, parallel_for, 8);
AT(aot_options, pool, 16);
AT(aot_options, seed, 24);
AT(aot_options, report, 32);
AT(aot_options, report_context, 40);

CHECK(sizeof(aot_value_info) == 40);
AT(aot_value_info, name, 0);
AT(aot_value_info, shape, 8);
AT(aot_value_info, ndim, 16);
AT(aot_value_info, dtype.code, 20);
AT(aot_value_info, dtype.bits, 21);
AT(aot_value_info, dtype.lanes, 22);
AT(aot_value_info, kind, 24);
AT(aot_value_info, reserved, 28);
AT(aot_value_info, value, 32);

CHECK(sizeof(aot_method) == 80);
AT(aot_method, name, 0);
AT(aot_method, inputs, 8);
AT(aot_method, outputs, 16);
AT(aot_method, num_inputs, 24);
AT(aot_method, num_outputs, 28);
AT(aot_method, arguments, 32);
AT(aot_method, results, 40);
AT(aot_method, run, 48);
AT(aot_method, dim_names, 56);
AT(aot_method, num_dims, 64);
AT(aot_method, reserved, 68);
AT(aot_method, flops, 72);

CHECK(sizeof(aot_model) == 176);
AT(aot_model, abi_version, 0);
AT(aot_model, struct_size, 4);
AT(aot_model, name, 8);
AT(aot_model, producer, 16);
AT(aot_model, target_triple, 24);
AT(aot_model, target_cpu, 32);
AT(aot_model, cpu_features, 40);
AT(aot_model, num_cpu_features, 48);
AT(aot_model, num_methods, 52);
AT(aot_model, methods, 56);
AT(aot_model, instance_size, 64);
AT(aot_model, instance_alignment, 72);
AT(aot_model, weight_bytes, 80);
AT(aot_model, arena_bytes, 88);
AT(aot_model, init, 96);
AT(aot_model, message, 104);
AT(aot_model, flags, 112);
AT(aot_model, release, 120);
AT(aot_model, state_size, 128);
AT(aot_model, reset, 136);
AT(aot_model, copy, 144);
AT(aot_model, save, 152);
AT(aot_model, restore, 160);
AT(aot_model, seed, 168);

/* A call of each inline, so that they compile. */
int main(void) {
    void *memory = aot_allocate(100, 64);
    int ok = memory != NULL && (uintptr_t)memory % 64 == 0;
    aot_release(memory);
    aot_release(NULL);
    return ok && aot_allocate(UINT64_MAX, 64) == NULL ? 0 : 1;
}
