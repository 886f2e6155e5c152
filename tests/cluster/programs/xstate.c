/* Preloaded into user-mode-linux: lets it run on CPUs whose extended state is larger than it knows (AMX).
 *
 * User-mode-linux 6.1 saves and restores the floating-point state of its guest processes with PTRACE_GETREGSET and PTRACE_SETREGSET,
 * in a buffer of 2,696 bytes: x87 to AVX-512 and PKRU. On a CPU with AMX the whole state is 11,008 bytes. The host kernel lets a
 * tracer read a part of it but refuses to set a part (EFAULT), and user-mode-linux panics at boot:
 * "ptrace set fp regs failed, errno = 14". This wrapper reads the whole state, lays the caller's part over it, and sets the whole.
 * The rest (AMX tiles) keeps its value; no guest process uses it, since none asked the kernel for permission.
 *
 * On other CPUs the caller's buffer holds the whole state, and every call passes through unchanged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, XSTATE = 0x202 };

static long call(long request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

long ptrace(int request, ...)
{
	va_list args;
	va_start(args, request);
	long pid = va_arg(args, int);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);

	if (request >= PEEK_FIRST && request <= PEEK_LAST) { /* as in glibc: the word is the result */
		long word, result = call(request, pid, addr, &word);
		if (result < 0)
			return result;
		errno = 0;
		return word;
	}
	if (request == SETREGSET && (long)addr == XSTATE) {
		static char whole[32768] __attribute__((aligned(64)));
		struct iovec *part = data, all = { whole, sizeof whole };
		if (call(GETREGSET, pid, addr, &all) < 0)
			return -1;
		if (part->iov_len < all.iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			return call(SETREGSET, pid, addr, &all);
		}
	}
	return call(request, pid, addr, data);
}
