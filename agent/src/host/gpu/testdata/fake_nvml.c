/* A stand-in for libnvidia-ml.so.1 with three boards, for tests: 0 is in order, 1 is divided (MIG), 2 is lost.
 * Built by the test with -DHANG (the power is asked for in vain, as of a driver in trouble), -DOLD (a library of before
 * driver 510, without the second form of some calls) or -DBROKEN (it does not go with the driver).
 * With -DFORBIDDEN it is that of a container which was given board 1 only.
 * Types, numbers and names of calls are those of NVIDIA's documentation of NVML. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, LOST = 15, MISMATCH = 18 };
typedef struct board { int number, instance; } *dev;
static struct board boards[3] = {{0, -1}, {1, -1}, {2, -1}}, instances[2] = {{1, 0}, {1, 1}};
typedef unsigned u32;
typedef unsigned long long u64;
#define WHOLE(d) if ((d)->number == 2) return LOST
#define PUT(at, value) do { *(at) = (value); return OK; } while (0)

#ifdef BROKEN
int nvmlInit_v2(void) { return MISMATCH; }
#else
int nvmlInit_v2(void) { return OK; }
#endif
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int error) { (void)error; return "fake"; }
static int text(char *to, u32 size, const char *from) { snprintf(to, size, "%s", from); return OK; }
int nvmlSystemGetDriverVersion(char *to, u32 size) { return text(to, size, "535.129.03"); }
int nvmlSystemGetCudaDriverVersion_v2(int *to) { PUT(to, 12020); }
int nvmlDeviceGetCount_v2(u32 *to) { PUT(to, 3); }
int nvmlDeviceGetHandleByIndex_v2(u32 index, dev *to) {
    if (index > 2) return NOT_FOUND;
#ifdef FORBIDDEN
    if (index != 1) return NO_PERMISSION;
#endif
    PUT(to, &boards[index]);
}
int nvmlDeviceGetUUID(dev d, char *to, u32 size) {
    const char *names[] = {"GPU-a0", "GPU-a1", "GPU-a2"};
    return text(to, size, names[d->number]);
}
int nvmlDeviceGetName(dev d, char *to, u32 size) { (void)d; return text(to, size, "NVIDIA A100-SXM4-80GB"); }
struct pci { char legacy[16]; u32 domain, bus, device, id, subsystem; char name[32]; };
int nvmlDeviceGetPciInfo_v3(dev d, struct pci *to) {
    memset(to, 0, sizeof *to);
    snprintf(to->name, sizeof to->name, "00000000:%02X:00.0", 7 + 3 * d->number);
    return OK;
}
int nvmlDeviceGetEccMode(dev d, u32 *now, u32 *later) { (void)d; *later = 1; PUT(now, 1); }
struct rates { u32 gpu, memory; };
int nvmlDeviceGetUtilizationRates(dev d, struct rates *to) {
    WHOLE(d);
    if (d->number == 1) return NOT_SUPPORTED;
    to->gpu = 91; to->memory = 42;
    return OK;
}
#ifndef OLD
struct memory { u32 version; u64 total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(dev d, struct memory *to) {
    WHOLE(d);
    u64 mib = 1 << 20;
    to->total = (d->instance < 0 ? 81920 : 40192) * mib;
    to->used = (d->instance < 0 ? 61440 : d->instance == 0 ? 20096 : 37) * mib;
    return OK;
}
#endif
int nvmlDeviceGetTemperature(dev d, int sensor, u32 *to) { WHOLE(d); (void)sensor; PUT(to, 61 + d->number); }
int nvmlDeviceGetPowerUsage(dev d, u32 *to) {
    WHOLE(d);
#ifdef HANG
    for (;;) pause();
#endif
    PUT(to, 350250);
}
int nvmlDeviceGetEnforcedPowerLimit(dev d, u32 *to) { WHOLE(d); PUT(to, 400000); }
int nvmlDeviceGetClockInfo(dev d, int clock, u32 *to) { WHOLE(d); PUT(to, clock == 1 ? 1410 : clock == 2 ? 1593 : 7); }
int nvmlDeviceGetFanSpeed_v2(dev d, u32 fan, u32 *to) { WHOLE(d); (void)fan; if (d->number) return NOT_SUPPORTED; PUT(to, 38); }
int nvmlDeviceGetCurrentClocksThrottleReasons(dev d, u64 *to) { WHOLE(d); PUT(to, 0x24); }
int nvmlDeviceGetTotalEccErrors(dev d, int kind, int span, u64 *to) { WHOLE(d); PUT(to, 1 + 2 * kind + 10 * span); }
struct field { u32 id, scope; long long time, latency; u32 type, error; union { double d; u32 u; u64 ull; } value; };
int nvmlDeviceGetFieldValues(dev d, int count, struct field *fields) {
    WHOLE(d);
    for (int i = 0; i < count; i++) {
        struct field *f = &fields[i];
        f->type = 1;
        f->error = OK;
        switch (f->id) {
        case 142: f->value.u = 3; break;
        case 143: f->value.u = 4; break;
        case 144: f->value.u = 1; break;
        case 145: f->value.u = 0; break;
        case 82: f->value.u = 77; break;
        default: f->error = NOT_SUPPORTED;
        }
    }
    return OK;
}
int nvmlDeviceGetPcieReplayCounter(dev d, u32 *to) { WHOLE(d); PUT(to, 5 + d->number); }
int nvmlDeviceGetCurrPcieLinkGeneration(dev d, u32 *to) { WHOLE(d); PUT(to, 3); }
int nvmlDeviceGetMaxPcieLinkGeneration(dev d, u32 *to) { WHOLE(d); PUT(to, 4); }
int nvmlDeviceGetCurrPcieLinkWidth(dev d, u32 *to) { WHOLE(d); PUT(to, 8); }
int nvmlDeviceGetMaxPcieLinkWidth(dev d, u32 *to) { WHOLE(d); PUT(to, 16); }
int nvmlDeviceGetNvLinkState(dev d, u32 link, int *to) { WHOLE(d); PUT(to, link < 2); }
int nvmlDeviceGetNvLinkErrorCounter(dev d, u32 link, int counter, u64 *to) {
    WHOLE(d);
    /* 0 replay, 1 recovery, 2 checksum of flits */
    PUT(to, 100 * (link + 1) + 10 * d->number + counter);
}
int nvmlDeviceGetMaxMigDeviceCount(dev d, u32 *to) { WHOLE(d); PUT(to, d->number == 1 ? 7 : 0); }
int nvmlDeviceGetMigDeviceHandleByIndex(dev d, u32 index, dev *to) {
    WHOLE(d);
    if (d->number != 1 || index > 1) return NOT_FOUND;
    PUT(to, &instances[index]);
}
struct process { u32 pid; u64 memory; u32 instance, compute; };
#ifndef OLD
int nvmlDeviceGetComputeRunningProcesses_v3(dev d, u32 *count, struct process *to) {
    WHOLE(d);
    u32 room = *count;
    *count = d->number == 0 ? 2 : 0;
    if (room < *count) return INSUFFICIENT_SIZE;
    for (u32 i = 0; i < *count; i++) {
        to[i].pid = 4242 + i;
        to[i].memory = i ? ~0ull : 61000ull << 20;
    }
    return OK;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(dev d, u32 *count, struct process *to) {
    WHOLE(d);
    (void)to;
    PUT(count, 0);
}
#endif
struct sample { u32 pid; u64 time; u32 sm, memory, encoder, decoder; };
int nvmlDeviceGetProcessUtilization(dev d, struct sample *to, u32 *count, u64 since) {
    WHOLE(d);
    (void)since;
    if (d->number) return NOT_FOUND;
    u32 room = *count;
    *count = 2;
    if (!to || room < 2) return INSUFFICIENT_SIZE;
    /* The newer one comes first. */
    to[0] = (struct sample){4242, 2000, 95, 40, 0, 0};
    to[1] = (struct sample){4242, 1000, 11, 4, 0, 0};
    return OK;
}
