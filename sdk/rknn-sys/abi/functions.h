/*
 * The functions of Rockchip's NPU runtime. Kept apart from the types, so that a test can declare them once more beside
 * the vendor's header: a C compiler refuses a second declaration that differs from the first.
 *
 * They return RKNN_SUCC or a negative error, the ones that create memory a null pointer on failure. None of them is in
 * every library: bind each at run time and expect it to be missing.
 */
#ifndef REPEDGE_RKNN_FUNCTIONS_H
#define REPEDGE_RKNN_FUNCTIONS_H

int rknn_init(rknn_context *context, void *model, uint32_t size, uint32_t flag, rknn_init_extend *extend);
int rknn_dup_context(rknn_context *context_in, rknn_context *context_out);
int rknn_destroy(rknn_context context);
int rknn_query(rknn_context context, rknn_query_cmd cmd, void *info, uint32_t size);

int rknn_inputs_set(rknn_context context, uint32_t n_inputs, rknn_input *inputs);
int rknn_outputs_get(rknn_context context, uint32_t n_outputs, rknn_output *outputs, rknn_output_extend *extend);
int rknn_outputs_release(rknn_context context, uint32_t n_outputs, rknn_output *outputs);

int rknn_run(rknn_context context, rknn_run_extend *extend);
int rknn_wait(rknn_context context, rknn_run_extend *extend);
int rknn_set_core_mask(rknn_context context, rknn_core_mask core_mask);
int rknn_set_batch_core_num(rknn_context context, int core_num);

rknn_tensor_mem *rknn_create_mem(rknn_context context, uint32_t size);
rknn_tensor_mem *rknn_create_mem2(rknn_context context, uint64_t size, uint64_t alloc_flags);
rknn_tensor_mem *rknn_create_mem_from_fd(rknn_context context, int32_t fd, void *virt_addr, uint32_t size,
                                         int32_t offset);
rknn_tensor_mem *rknn_create_mem_from_phys(rknn_context context, uint64_t phys_addr, void *virt_addr, uint32_t size);
rknn_tensor_mem *rknn_create_mem_from_mb_blk(rknn_context context, void *mb_blk, int32_t offset);
int rknn_destroy_mem(rknn_context context, rknn_tensor_mem *mem);
int rknn_mem_sync(rknn_context context, rknn_tensor_mem *mem, rknn_mem_sync_mode mode);
int rknn_set_io_mem(rknn_context context, rknn_tensor_mem *mem, rknn_tensor_attr *attr);
int rknn_set_weight_mem(rknn_context context, rknn_tensor_mem *mem);
int rknn_set_internal_mem(rknn_context context, rknn_tensor_mem *mem);
int rknn_set_input_shapes(rknn_context context, uint32_t n_inputs, rknn_tensor_attr *attr);

#endif
