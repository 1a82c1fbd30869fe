/**
 * Owns what a run used: CPU of one process, CPU of the whole machine, memory.
 *
 *   /proc -> before, work, after -> seconds
 */
import { readFile } from 'node:fs/promises';

/** USER_HZ: 100 on every Linux architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Usage {
  /** The forwarder's user and system time; undefined without a process. */
  readonly processCpuS: number | undefined;
  /** Everything that was not idle: load generator, kernel and servers included. */
  readonly systemCpuS: number;
}

export interface Metered<T> extends Usage {
  readonly result: T;
}

/** Runs `work` and says what it cost. */
export async function metered<T>(pid: number | undefined, work: () => Promise<T>): Promise<Metered<T>> {
  const processBefore = pid === undefined ? undefined : await processCpuS(pid);
  const systemBefore = await systemCpu();
  const result = await work();
  const systemAfter = await systemCpu();
  return {
    result,
    processCpuS: pid === undefined ? undefined : (await processCpuS(pid)) - (processBefore ?? 0),
    systemCpuS: systemAfter.busyS - systemBefore.busyS,
  };
}

/** User and system time of all its threads, and of the children it has waited for (proc(5), fields 14 to 17). */
export async function processCpuS(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The command name, in parentheses, may hold spaces: count from behind it. Field 14 is then the 12th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return ticks / TICKS_PER_SECOND;
}

export interface SystemCpu {
  readonly busyS: number;
  readonly stealS: number;
  readonly totalS: number;
}

/** Sums over all cores since boot. Busy: neither idle, nor waiting for a disk, nor stolen by the hypervisor. */
export async function systemCpu(): Promise<SystemCpu> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .slice(1)
    .map((field) => Number(field) / TICKS_PER_SECOND);
  const busyS = user + nice + system + irq + softirq;
  return { busyS, stealS: steal, totalS: busyS + idle + iowait + steal };
}

/** Resident memory of a process. */
export async function residentKB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kilobytes);
}
