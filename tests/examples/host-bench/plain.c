/* The host's work on a frame as it is commonly written: one pixel, one cell at a time, in doubles and floats. What host-bench
   compares with; compiled by it with -O3. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    int width, height;               /* of the frame */
    int side;                        /* of the model's square input */
    int left, top, inner_w, inner_h; /* where the frame lies in it */
} Letterbox;

static int clamp_byte(double value) {
    int rounded = (int)(value + 0.5);
    return value < 0 ? 0 : rounded > 255 ? 255 : rounded;
}

/* Bilinear sample of bytes that lie `step` apart in rows of `stride`. */
static double sample(const uint8_t *bytes, int stride, int step, int w, int h, double x, double y) {
    if (x < 0) x = 0;
    if (y < 0) y = 0;
    if (x > w - 1) x = w - 1;
    if (y > h - 1) y = h - 1;
    int x0 = (int)x, y0 = (int)y;
    int x1 = x0 + 1 < w ? x0 + 1 : x0, y1 = y0 + 1 < h ? y0 + 1 : y0;
    double fx = x - x0, fy = y - y0;
    const uint8_t *a = bytes + y0 * stride, *b = bytes + y1 * stride;
    double above = a[x0 * step] * (1 - fx) + a[x1 * step] * fx;
    double below = b[x0 * step] * (1 - fx) + b[x1 * step] * fx;
    return above * (1 - fy) + below * fy;
}

static void put(uint8_t *pixel, double y, double u, double v) {
    double light = 1.164384 * (y - 16);
    pixel[0] = clamp_byte(light + 1.596027 * (v - 128));
    pixel[1] = clamp_byte(light - 0.391762 * (u - 128) - 0.812968 * (v - 128));
    pixel[2] = clamp_byte(light + 2.017232 * (u - 128));
}

static int is_bar(const Letterbox *box, int row, int column, uint8_t *pixel) {
    if (row >= box->top && row < box->top + box->inner_h && column >= box->left && column < box->left + box->inner_w)
        return 0;
    pixel[0] = pixel[1] = pixel[2] = 114;
    return 1;
}

void plain_nv12(const Letterbox *box, const uint8_t *luma, const uint8_t *chroma, uint8_t *out) {
    int w = box->width, h = box->height;
    for (int row = 0; row < box->side; row++) {
        for (int column = 0; column < box->side; column++) {
            uint8_t *pixel = out + (row * box->side + column) * 3;
            if (is_bar(box, row, column, pixel)) continue;
            double across = (column - box->left + 0.5) / box->inner_w, down = (row - box->top + 0.5) / box->inner_h;
            double y = sample(luma, w, 1, w, h, across * w - 0.5, down * h - 0.5);
            double cx = across * (w / 2) - 0.5, cy = down * (h / 2) - 0.5;
            double u = sample(chroma, w, 2, w / 2, h / 2, cx, cy);
            double v = sample(chroma + 1, w, 2, w / 2, h / 2, cx, cy);
            put(pixel, y, u, v);
        }
    }
}

void plain_yuyv(const Letterbox *box, const uint8_t *bytes, uint8_t *out) {
    int w = box->width, h = box->height;
    for (int row = 0; row < box->side; row++) {
        for (int column = 0; column < box->side; column++) {
            uint8_t *pixel = out + (row * box->side + column) * 3;
            if (is_bar(box, row, column, pixel)) continue;
            double across = (column - box->left + 0.5) / box->inner_w, down = (row - box->top + 0.5) / box->inner_h;
            double y = sample(bytes, 2 * w, 2, w, h, across * w - 0.5, down * h - 0.5);
            double cx = across * (w / 2) - 0.5, cy = down * h - 0.5;
            double u = sample(bytes + 1, 2 * w, 4, w / 2, h, cx, cy);
            double v = sample(bytes + 3, 2 * w, 4, w / 2, h, cx, cy);
            put(pixel, y, u, v);
        }
    }
}

typedef struct {
    float x0, y0, x1, y1, score;
    int class_index;
} Box;

static float real(int8_t stored, float scale, int zero_point) { return (stored - zero_point) * scale; }
static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

static int better(const void *a, const void *b) {
    float x = ((const Box *)a)->score, y = ((const Box *)b)->score;
    return (x < y) - (x > y);
}

static float overlap(const Box *a, const Box *b) {
    float w = fminf(a->x1, b->x1) - fmaxf(a->x0, b->x0), h = fminf(a->y1, b->y1) - fmaxf(a->y0, b->y0);
    if (w <= 0 || h <= 0) return 0;
    float both = w * h;
    return both / ((a->x1 - a->x0) * (a->y1 - a->y0) + (b->x1 - b->x0) * (b->y1 - b->y0) - both);
}

/* Decodes three heads of 3 x (5 + classes) planes, YOLOv5's; gives the number of boxes left in `kept` of `room`. */
/* Cells whose stored objectness is below `least` are passed over before anything is made real; -128 passes over none. */
int plain_decode(const int8_t *const heads[3], int side, int classes, float scale, int zero_point, const float *anchors,
                 int least, float confidence, float iou, Box *found, Box *kept, int room) {
    int count = 0;
    for (int head = 0; head < 3; head++) {
        int stride = 8 << head, cells = side / stride, plane = cells * cells;
        for (int anchor = 0; anchor < 3; anchor++) {
            const int8_t *base = heads[head] + anchor * (5 + classes) * plane;
            const float *size = anchors + (head * 3 + anchor) * 2;
            for (int y = 0; y < cells; y++) {
                for (int x = 0; x < cells; x++) {
                    const int8_t *cell = base + y * cells + x;
                    if (cell[4 * plane] < least) continue;
                    float objectness = sigmoid(real(cell[4 * plane], scale, zero_point));
                    if (objectness <= confidence) continue;
                    int best = 0;
                    for (int c = 1; c < classes; c++)
                        if (cell[(5 + c) * plane] > cell[(5 + best) * plane]) best = c;
                    float score = objectness * sigmoid(real(cell[(5 + best) * plane], scale, zero_point));
                    if (score <= confidence) continue;
                    float v[4];
                    for (int i = 0; i < 4; i++) v[i] = 2 * sigmoid(real(cell[i * plane], scale, zero_point));
                    float cx = (v[0] - 0.5f + x) * stride, cy = (v[1] - 0.5f + y) * stride;
                    float w = v[2] * v[2] * size[0], h = v[3] * v[3] * size[1];
                    found[count++] = (Box){cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score, best};
                }
            }
        }
    }
    qsort(found, count, sizeof(Box), better);
    int left = 0;
    for (int i = 0; i < count && left < room; i++) {
        int is_covered = 0;
        for (int j = 0; j < left && !is_covered; j++)
            is_covered = kept[j].class_index == found[i].class_index && overlap(&kept[j], &found[i]) > iou;
        if (!is_covered) kept[left++] = found[i];
    }
    return left;
}
