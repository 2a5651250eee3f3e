/* Stands for: libnvidia-ml.so.1. Answers from /run/gpuready-lab/kernel, which is there while the simulated module is
 * loaded; its own version is its file name's, so a library of another version answers with a mismatch, as NVIDIA's does.
 * A GPU is seen where its device node is. Cannot show: anything beyond the functions below; nothing is behind a handle. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       LIB_RM_VERSION_MISMATCH = 18 };
#define KERNEL "/run/gpuready-lab/kernel"
#define MAX_GPUS 64

typedef struct { int minor, mig; } gpu_t; /* mig: which of a GPU's MIG devices, from 1; 0 is the GPU */
typedef gpu_t *nvmlDevice_t;
static gpu_t gpus[MAX_GPUS], migs[MAX_GPUS][7];
static unsigned count;
static int users;

static int value(const char *key, char *out, unsigned size) {
    FILE *file = fopen(KERNEL, "re");
    char line[512];
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        if (!strncmp(line, key, length) && line[length] == '=') {
            line[strcspn(line, "\n")] = 0;
            snprintf(out, size, "%s", line + length + 1);
            found = 1;
        }
    if (file) fclose(file);
    return found;
}

static int gpu_value(nvmlDevice_t gpu, const char *key, char *out, unsigned size) {
    char name[64];
    if (!users) return UNINITIALIZED;
    if (!gpu || !out) return INVALID_ARGUMENT;
    if (gpu->mig) snprintf(name, sizeof name, "gpu%d.mig%d.%s", gpu->minor, gpu->mig - 1, key);
    else snprintf(name, sizeof name, "gpu%d.%s", gpu->minor, key);
    char text[256];
    if (!value(name, text, sizeof text)) return NOT_SUPPORTED;
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

static void own_version(char *out, unsigned size) {
    Dl_info info;
    char path[PATH_MAX];
    const char *suffix = NULL;
    if (dladdr((void *)own_version, &info) && realpath(info.dli_fname, path)) suffix = strstr(path, ".so.");
    snprintf(out, size, "%s", suffix ? suffix + 4 : "");
}

int nvmlInit_v2(void) {
    char kernel[64], ours[64], text[32];
    if (!value("driver_version", kernel, sizeof kernel) || access("/dev/nvidiactl", F_OK)) return DRIVER_NOT_LOADED;
    own_version(ours, sizeof ours);
    if (strchr(ours, '.') && strcmp(kernel, ours)) return LIB_RM_VERSION_MISMATCH;
    if (value("hang", text, sizeof text)) sleep(atoi(text));
    if (value("nvml_error", text, sizeof text)) return atoi(text);
    count = 0;
    int there = value("gpus", text, sizeof text) ? atoi(text) : 0;
    for (int minor = 0; minor < there && minor < MAX_GPUS; minor++) {
        char node[32];
        snprintf(node, sizeof node, "/dev/nvidia%d", minor);
        if (!access(node, F_OK)) gpus[count++].minor = minor;
    }
    users++;
    return SUCCESS;
}
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return users ? (users--, SUCCESS) : UNINITIALIZED; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "The operation was successful";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case LIB_RM_VERSION_MISMATCH: return "RM has detected an NVML/RM version mismatch.";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    if (!users) return UNINITIALIZED;
    return value("driver_version", out, size) ? SUCCESS : DRIVER_NOT_LOADED;
}
int nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    own_version(out, size);
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    char text[32];
    int major = 0, minor = 0;
    if (value("cuda_version", text, sizeof text)) sscanf(text, "%d.%d", &major, &minor);
    *out = major * 1000 + minor * 10;
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

int nvmlDeviceGetCount_v2(unsigned *out) {
    if (!users) return UNINITIALIZED;
    *out = count;
    return SUCCESS;
}
int nvmlDeviceGetCount(unsigned *out) { return nvmlDeviceGetCount_v2(out); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out) {
    if (!users) return UNINITIALIZED;
    if (index >= count) return INVALID_ARGUMENT;
    *out = &gpus[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *out) { return nvmlDeviceGetHandleByIndex_v2(index, out); }
int nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) {
    if (!users) return UNINITIALIZED;
    for (unsigned i = 0; i < count; i++) {
        char text[96];
        if (!gpu_value(&gpus[i], "uuid", text, sizeof text) && !strcmp(text, uuid)) return *out = &gpus[i], SUCCESS;
    }
    return 6; /* NVML_ERROR_NOT_FOUND */
}
int nvmlDeviceGetName(nvmlDevice_t gpu, char *out, unsigned size) { return gpu_value(gpu, "product_name", out, size); }
int nvmlDeviceGetUUID(nvmlDevice_t gpu, char *out, unsigned size) { return gpu_value(gpu, "uuid", out, size); }
int nvmlDeviceGetMinorNumber(nvmlDevice_t gpu, unsigned *out) { return *out = gpu->minor, SUCCESS; }
int nvmlDeviceGetIndex(nvmlDevice_t gpu, unsigned *out) { return *out = (unsigned)(gpu - gpus), SUCCESS; }

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_t;
int nvmlDeviceGetPciInfo_v3(nvmlDevice_t gpu, pci_t *out) {
    char text[32], wide[32];
    unsigned device = 0;
    int code = gpu_value(gpu, "bus", text, sizeof text);
    if (code) return code;
    memset(out, 0, sizeof *out);
    sscanf(text, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->legacy, sizeof out->legacy, "%.15s", text);
    snprintf(out->bus_id, sizeof out->bus_id, "0000%.20s", text);
    if (!gpu_value(gpu, "device", wide, sizeof wide)) sscanf(wide, "%x", &device);
    out->pci_device_id = device << 16 | 0x10de;
    out->pci_subsystem_id = 0x16c110de;
    return SUCCESS;
}
int nvmlDeviceGetPciInfo(nvmlDevice_t gpu, pci_t *out) { return nvmlDeviceGetPciInfo_v3(gpu, out); }

int nvmlDeviceGetMemoryInfo(nvmlDevice_t gpu, unsigned long long *out) { /* total, free, used */
    char text[64];
    int code = gpu_value(gpu, "total", text, sizeof text);
    if (code) return code;
    out[0] = out[1] = strtoull(text, NULL, 10) << 20;
    out[2] = 0;
    return SUCCESS;
}
int nvmlDeviceGetMigMode(nvmlDevice_t gpu, unsigned *current, unsigned *pending) {
    char text[32];
    *current = *pending = !gpu_value(gpu, "current_mig", text, sizeof text) && !strcmp(text, "Enabled");
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t gpu, unsigned *out) { return (void)gpu, *out = 7, SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t gpu, unsigned index, nvmlDevice_t *out) {
    char text[32];
    unsigned there = gpu_value(gpu, "mig", text, sizeof text) ? 0 : (unsigned)atoi(text);
    if (index >= there || index >= 7) return 6; /* NVML_ERROR_NOT_FOUND */
    migs[gpu->minor][index] = (gpu_t){gpu->minor, (int)index + 1};
    return *out = &migs[gpu->minor][index], SUCCESS;
}
int nvmlDeviceGetPersistenceMode(nvmlDevice_t gpu, unsigned *out) {
    char text[32];
    *out = gpu_value(gpu, "persistence_mode", text, sizeof text) || !strcmp(text, "Enabled");
    return SUCCESS;
}
