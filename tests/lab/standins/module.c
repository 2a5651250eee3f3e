/* Stands for: a module file of the driver, for depmod and modinfo. Cannot show: anything in a kernel. */
#define INFO(name, text) __attribute__((section(".modinfo"), used)) static const char name[] = text
INFO(version, "version=@VERSION_______________@");
INFO(license, "license=Dual MIT/GPL");
INFO(name, "name=" NAME);
