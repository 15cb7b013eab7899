/*
 * An operator that a program adds to a model, as the binaries lay it out. Kept apart from the other types, so that a test can
 * compile it beside the vendor's header: the one that tests compare with does not describe it. RepEdge registers none.
 */
#ifndef REPEDGE_RKNN_CUSTOM_OP_H
#define REPEDGE_RKNN_CUSTOM_OP_H

/* What runs an operator. */
typedef enum rknn_target_type {
    RKNN_TARGET_TYPE_CPU = 1,
    RKNN_TARGET_TYPE_GPU = 2
} rknn_target_type;

/* Made by the runtime and handed to every callback. */
typedef struct rknn_custom_op_context rknn_custom_op_context;

/* An input or output of an operator. */
typedef struct rknn_custom_op_tensor {
    rknn_tensor_attr attr;
    rknn_tensor_mem mem;
} rknn_custom_op_tensor;

/* What a callback does with the tensors of an operator; 0 says that all is well. */
typedef int (*rknn_custom_op_callback)(rknn_custom_op_context *context, rknn_custom_op_tensor *inputs, uint32_t n_inputs,
                                       rknn_custom_op_tensor *outputs, uint32_t n_outputs);

/* An operator. The kernel's source is text of cl_source_size bytes, or for 0 bytes the path of a file. */
typedef struct rknn_custom_op {
    uint32_t version;
    rknn_target_type target;
    char op_type[RKNN_MAX_NAME_LEN];
    char cl_kernel_name[RKNN_MAX_NAME_LEN];
    char *cl_kernel_source;
    uint64_t cl_source_size;
    char cl_build_options[RKNN_MAX_NAME_LEN];
    rknn_custom_op_callback init;
    rknn_custom_op_callback prepare;
    rknn_custom_op_callback compute;
    rknn_custom_op_callback compute_native;
    int (*destroy)(rknn_custom_op_context *context);
} rknn_custom_op;

#endif
