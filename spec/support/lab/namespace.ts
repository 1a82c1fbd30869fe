/**
 * Owns one network namespace: running programs in it, its sysctls, and asking who answers at an address.
 *
 *   lab -> Namespace -> ip netns exec <name> <program> -> Child
 */
import { fileURLToPath } from 'node:url';
import type { Ip, IpFamily } from '../../../lib/config/address.js';
import type { Protocol } from '../../../lib/model/objects.js';
import { Child } from './child.js';
import type { Answer, Dial } from './programs/dial.js';

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
}

export interface IdentityOptions {
  readonly port: number;
  /** What it answers; the short name of the namespace where there is none. */
  readonly name?: string;
  /** Both where there are none. */
  readonly protocols?: readonly Protocol[];
  /**
   * The namespace's own address of each family where there are none. Not the wildcard: a wildcard UDP socket of a node with
   * several addresses may answer from another one than it was asked at.
   */
  readonly hosts?: readonly Ip[];
}

export class Namespace {
  /** Every process started here that has not ended. */
  readonly #children = new Set<Child>();

  constructor(
    /** As in `ip netns list`. */
    readonly name: string,
    /** `node`, `ext`, `pod1`. */
    readonly title: string,
    readonly address: Readonly<Record<IpFamily, Ip>>,
  ) {}

  /** Starts a program in the namespace; `lab.close` ends it if nobody else does. */
  spawn(command: string, args: readonly string[] = [], env?: NodeJS.ProcessEnv): Child {
    const child = Child.start('ip', ['netns', 'exec', this.name, command, ...args], env);
    this.#children.add(child);
    void child.exited.then(() => this.#children.delete(child));
    return child;
  }

  /** Runs a program to its end. Rejects where it takes longer than `timeoutMs` (10 s); a failing exit code is a result. */
  async run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
    const timeoutMs = options.timeoutMs ?? 10_000;
    const child = this.spawn(command, args, options.env);
    child.end(options.input);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.killGroup();
    }, timeoutMs);
    const { code } = await child.exited;
    clearTimeout(timer);
    const { stdout, stderr } = child;
    if (late) throw new Error(`${command} ${args.join(' ')} took over ${timeoutMs} ms: ${stdout}${stderr}`);
    return { code, stdout, stderr };
  }

  /** As `run`, but a failing exit code rejects with what it printed. Resolves with its stdout. */
  async must(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, args, options);
    if (code !== 0) throw new Error(`${this.title}: ${command} ${args.join(' ')} exited ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Sets sysctls of this namespace: `/proc/sys/net` shows those of the process that opens it. */
  async sysctl(settings: Readonly<Record<string, number | string>>): Promise<void> {
    const pathsByValue = new Map<string, string[]>();
    for (const [key, value] of Object.entries(settings)) {
      const paths = pathsByValue.get(String(value)) ?? [];
      pathsByValue.set(String(value), [...paths, `/proc/sys/${key.replaceAll('.', '/')}`]);
    }
    await Promise.all([...pathsByValue].map(([value, paths]) => this.must('tee', paths, { input: value })));
  }

  /** Starts a server that says who it is, over TCP and UDP. Resolves when it listens. */
  async serve(options: IdentityOptions): Promise<Child> {
    const hosts = [this.address.IPv4, this.address.IPv6];
    const settings = { name: this.title, protocols: ['TCP', 'UDP'], hosts, ...options };
    const child = this.spawn(process.execPath, [program('identity'), JSON.stringify(settings)]);
    await child.waitFor('ready\n');
    return child;
  }

  /**
   * Dials from here and tells who answered, or why nobody did. Several dials run at once, the `count` of one dial one after
   * the other, all in one process. Element i of the result holds the answers to dial i.
   */
  async dial(dials: readonly Dial[]): Promise<Answer[][]> {
    const longestMs = Math.max(0, ...dials.map((dial) => (dial.timeoutMs ?? 2_000) * (dial.count ?? 1)));
    const input = JSON.stringify(dials);
    const stdout = await this.must(process.execPath, [program('dial')], { input, timeoutMs: longestMs + 10_000 });
    return JSON.parse(stdout) as Answer[][];
  }

  /** `dial` in short: the name of who answered, or the error code, `count` times. */
  async ask(host: Ip, port: number, protocol: Protocol = 'TCP', count = 1): Promise<string[]> {
    const [answers = []] = await this.dial([{ host, port, protocol, count }]);
    return answers.map((answer) => answer.by ?? answer.error ?? '?');
  }

  /**
   * Opens one TCP connection to talk over: what is written to the child goes to the peer, `end` half-closes, stdout is what
   * the peer sent; stderr says `connected`, then `eof` at the peer's FIN, or an error code. Resolves when connected.
   */
  async talk(host: Ip, port: number): Promise<Child> {
    const child = this.spawn(process.execPath, [program('talk'), host, String(port)]);
    await child.waitFor('connected\n');
    return child;
  }

  /** Kills what still runs here. Never rejects. */
  async killAll(): Promise<void> {
    const children = [...this.#children];
    this.killAllNow();
    await Promise.all(children.map((child) => child.exited));
  }

  killAllNow(): void {
    for (const child of this.#children) child.killGroup();
  }
}

function program(name: string): string {
  return fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url));
}
