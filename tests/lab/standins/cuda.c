/* Stands for: libcuda.so.1, which checks look for by name and version. Cannot show: CUDA. */
int cuInit(unsigned flags) { return flags ? 1 : 100; } /* CUDA_ERROR_NO_DEVICE */
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
