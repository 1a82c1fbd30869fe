/**
 * Owns a small cluster node made of network namespaces, and that nothing of it stays behind.
 *
 *   ext 192.168.77.2 ---- 192.168.77.1 node 10.244.1.1 (br0, hairpin) ---- pod1 10.244.1.11, pod2 10.244.1.12, ...
 *       fd00:77::2           fd00:77::1     fd00:10:244:1::1                   fd00:10:244:1::11, ...
 *
 * Everything that `ext` and the pods do not know goes to `node`, and everything that `node` does not know goes to `ext`, so
 * that any ClusterIP, externalIP or load-balancer IP reaches the node, and has a route from the node itself.
 */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { Ip, IpFamily } from '../../../lib/config/address.js';
import { Namespace } from './namespace.js';

const exec = promisify(execFile);

export interface LabOptions {
  /** 2 where there is none; 2 to 80. */
  readonly pods?: number;
  /** Gives the node a second address on the link to `ext`: see `secondNodeAddress`. */
  readonly multiHomed?: boolean;
}

type Addresses = Readonly<Record<IpFamily, Ip>>;

export interface Lab {
  readonly ns: {
    readonly node: Namespace;
    readonly ext: Namespace;
    readonly pod1: Namespace;
    readonly pod2: Namespace;
  };
  /** All pods; pod(1) is `ns.pod1`. */
  pod(number: number): Namespace;
  /** The node's address on the bridge. */
  readonly gateway: Addresses;
  /** Only on a multi-homed node. Same link, same prefix: an answer from a wildcard socket would leave from the first one. */
  readonly secondNodeAddress: Addresses;
  /** Kills every process started in the lab and removes its namespaces. Safe to call again, and after any failure. */
  close(): Promise<void>;
}

const GATEWAY: Addresses = { IPv4: '10.244.1.1', IPv6: 'fd00:10:244:1::1' };
const SECOND: Addresses = { IPv4: '192.168.77.10', IPv6: 'fd00:77::10' };
const NODE: Addresses = { IPv4: '192.168.77.1', IPv6: 'fd00:77::1' };
const EXT: Addresses = { IPv4: '192.168.77.2', IPv6: 'fd00:77::2' };

/** Names of one process are never used again: a late removal must not meet a new lab. */
let labs = 0;
const open = new Set<Namespace[]>();

/** Needs root and iproute2. On failure nothing stays behind. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  const pods = options.pods ?? 2;
  if (!Number.isInteger(pods) || pods < 2 || pods > 80) throw new RangeError(`pods: ${pods} is not in 2 to 80`);
  await removeAbandoned();
  const prefix = `kpus-${process.pid}-${labs++}`;
  const node = new Namespace(`${prefix}-node`, 'node', NODE);
  const ext = new Namespace(`${prefix}-ext`, 'ext', EXT);
  const podSpaces = Array.from({ length: pods }, (_, i) => {
    const address = { IPv4: `10.244.1.${11 + i}`, IPv6: `fd00:10:244:1::${11 + i}` };
    return new Namespace(`${prefix}-pod${i + 1}`, `pod${i + 1}`, address);
  });
  const [pod1, pod2] = podSpaces;
  if (pod1 === undefined || pod2 === undefined) throw new RangeError('a lab has two pods at least');
  const all = [node, ext, ...podSpaces];
  open.add(all);
  process.once('exit', closeAllNow);
  try {
    await Promise.all(all.map(addNamespace));
    await ip(node, nodeLinks(ext, podSpaces, options.multiHomed === true));
    await Promise.all([ip(ext, extRoutes()), ...podSpaces.map((pod) => ip(pod, podRoutes(pod)))]);
  } catch (error) {
    await remove(all);
    throw error;
  }
  return {
    ns: { node, ext, pod1, pod2 },
    pod(number) {
      const pod = podSpaces[number - 1];
      if (pod === undefined) throw new RangeError(`this lab has ${pods} pods, no pod ${number}`);
      return pod;
    },
    gateway: GATEWAY,
    secondNodeAddress: SECOND,
    close: () => remove(all),
  };
}

async function addNamespace(space: Namespace): Promise<void> {
  await exec('ip', ['netns', 'add', space.name]);
  const forward = space.title === 'node' ? 1 : 0;
  await space.sysctl({
    'net.ipv4.ip_forward': forward,
    'net.ipv6.conf.all.forwarding': forward,
    // An address in duplicate detection cannot be bound: its first second would be a race.
    'net.ipv6.conf.default.accept_dad': 0,
    'net.ipv6.conf.default.dad_transmits': 0,
    // New namespaces may inherit these from the machine, whose settings must not decide a test.
    'net.ipv4.conf.all.rp_filter': 0,
    'net.ipv4.conf.default.rp_filter': 0,
    'net.ipv6.conf.all.disable_ipv6': 0,
    'net.ipv6.conf.default.disable_ipv6': 0,
  });
  await ip(space, ['link set lo up']);
}

/** Links are made inside the namespaces, so the machine's own never has one. */
function nodeLinks(ext: Namespace, pods: readonly Namespace[], multiHomed: boolean): string[] {
  return [
    // A set address: without one the bridge takes its lowest port's, and what others have learned goes stale.
    'link add br0 address 02:00:0a:f4:01:01 type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
    'link set br0 up',
    ...addressLines('br0', GATEWAY),
    ...pods.flatMap((pod) => [
      `link add ${pod.title} type veth peer name eth0 netns ${pod.name}`,
      `link set ${pod.title} master br0`,
      // Hairpin: a pod that reaches itself through a Service comes back on the port it left from.
      `link set ${pod.title} type bridge_slave hairpin on`,
      `link set ${pod.title} up`,
    ]),
    `link add eth0 type veth peer name eth0 netns ${ext.name}`,
    'link set eth0 up',
    ...addressLines('eth0', NODE),
    ...(multiHomed ? addressLines('eth0', SECOND) : []),
    ...defaultRoutes(EXT),
  ];
}

function extRoutes(): string[] {
  return ['link set eth0 up', ...addressLines('eth0', EXT), ...defaultRoutes(NODE)];
}

function podRoutes(pod: Namespace): string[] {
  return ['link set eth0 up', ...addressLines('eth0', pod.address), ...defaultRoutes(GATEWAY)];
}

function addressLines(link: string, { IPv4, IPv6 }: Addresses): string[] {
  return [`address add ${IPv4}/24 dev ${link}`, `address add ${IPv6}/64 dev ${link} nodad`];
}

function defaultRoutes({ IPv4, IPv6 }: Addresses): string[] {
  return [`route add 0.0.0.0/0 via ${IPv4}`, `route add ::/0 via ${IPv6}`];
}

/** Runs many `ip` commands in one process. */
async function ip(space: Namespace, lines: readonly string[]): Promise<void> {
  await space.must('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
}

async function remove(spaces: Namespace[]): Promise<void> {
  if (!open.delete(spaces)) return;
  if (open.size === 0) process.off('exit', closeAllNow);
  await Promise.all(spaces.map((space) => space.killAll()));
  await Promise.all(spaces.map((space) => removeNamespace(space.name)));
}

/** What still runs in a namespace of ours (a daemon that left its group) is ours too. Not an error when it is not there. */
async function removeNamespace(name: string): Promise<void> {
  try {
    const { stdout } = await exec('ip', ['netns', 'pids', name]);
    killPids(stdout);
    await exec('ip', ['netns', 'delete', name]);
  } catch {
    // It was never made, or is gone.
  }
}

/** The safety net: a process that ends without `close` leaves nothing either. */
function closeAllNow(): void {
  for (const spaces of open) {
    for (const space of spaces) {
      space.killAllNow();
      killPids(spawnSync('ip', ['netns', 'pids', space.name], { encoding: 'utf8' }).stdout);
      spawnSync('ip', ['netns', 'delete', space.name]);
    }
  }
  open.clear();
}

/** Removes the labs of processes that were killed outright. */
async function removeAbandoned(): Promise<void> {
  const { stdout } = await exec('ip', ['netns', 'list']);
  const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  const abandoned = names.filter((name) => {
    const pid = /^kpus-(\d+)-\d+-/.exec(name)?.[1];
    return pid !== undefined && !isAlive(Number(pid));
  });
  await Promise.all(abandoned.map(removeNamespace));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function killPids(text: string): void {
  for (const pid of text.split('\n').filter((line) => /^\d+$/.test(line))) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // ESRCH: it ended just now.
    }
  }
}
