/**
 * Owns the connection records on their way out (rule H5): one JSON line for each connection that ended.
 *
 *   ConnectionRecord -> write -> bounded buffer -> file or standard output, one write at a time
 *
 * A slow disk costs records, which are counted, never memory nor a connection's time.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { Log } from '../config/log.js';
import type { ConnectionRecord } from '../relay/engine.js';

export interface AccessLogOptions {
  /** A file that is appended to, or `-` for standard output. */
  readonly path: string;
  readonly log: Log;
  /** Characters that wait to be written; further records are dropped. */
  readonly maxBufferedLength?: number;
  /** Stands in for standard output. */
  readonly stdout?: NodeJS.WritableStream;
}

/** The file that was asked for cannot be appended to. `code` is the errno name. */
export class AccessLogError extends Error {
  override readonly name = 'AccessLogError';
  readonly code: string;
  constructor(path: string, cause: unknown) {
    super(`--access-log: ${JSON.stringify(path)}: expected a file that can be appended to, or -`, { cause });
    this.code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'UNKNOWN';
  }
}

const MAX_BUFFERED_LENGTH = 4 * 1024 * 1024;

interface Sink {
  /** Rejects where the text could not be written whole. */
  write(text: string): Promise<void>;
  close(): Promise<void>;
}

export class AccessLog {
  readonly #options: AccessLogOptions;
  readonly #maxBufferedLength: number;
  #sink: Sink | undefined;
  #lines: string[] = [];
  #bufferedLength = 0;
  #dropped = 0;
  /** The batch under way. */
  #batch: Promise<void> = Promise.resolve();
  /** Resolves when nothing waits any more. */
  #writing: Promise<void> = Promise.resolve();
  #isWriting = false;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#maxBufferedLength = options.maxBufferedLength ?? MAX_BUFFERED_LENGTH;
  }

  /** Records that could not be written. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Rejects with an `AccessLogError` where the file cannot be opened. */
  async start(): Promise<void> {
    try {
      this.#sink = await this.#openSink();
    } catch (cause) {
      throw new AccessLogError(this.#options.path, cause);
    }
  }

  /** Never throws and never waits. */
  write(record: ConnectionRecord): void {
    const line = `${JSON.stringify(lineOf(record))}\n`;
    if (this.#sink === undefined || this.#bufferedLength + line.length > this.#maxBufferedLength) {
      const reason = this.#sink === undefined ? 'the file is not open' : 'records come faster than they can be written';
      this.#drop(1, new Error(reason));
      return;
    }
    this.#lines.push(line);
    this.#bufferedLength += line.length;
    if (!this.#isWriting) this.#writing = this.#writeAll();
  }

  /** After the file was moved away (logrotate): later records go to a new one. On failure the old file is kept. */
  async reopen(): Promise<void> {
    if (this.#options.path === '-' || this.#sink === undefined) return;
    try {
      const next = await this.#openSink();
      const before = this.#sink;
      this.#sink = next;
      await this.#batch;
      await before.close();
    } catch (err) {
      this.#options.log.warn('access log cannot be reopened, the old file is kept', { file: this.#options.path, err });
    }
  }

  /** Resolves when what is buffered is written. */
  async stop(): Promise<void> {
    await this.#writing;
    const sink = this.#sink;
    this.#sink = undefined;
    await sink?.close();
  }

  /** Writes until nothing waits; a batch that fails is dropped and the next is tried. */
  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#lines.length > 0 && this.#sink !== undefined) {
      const batch = this.#lines;
      this.#lines = [];
      this.#bufferedLength = 0;
      this.#batch = this.#sink.write(batch.join('')).catch((error: unknown) => this.#drop(batch.length, error));
      await this.#batch;
    }
    this.#isWriting = false;
  }

  #drop(count: number, err: unknown): void {
    this.#dropped += count;
    this.#options.log.warn('access log loses records', { file: this.#options.path, err });
  }

  async #openSink(): Promise<Sink> {
    const { path, stdout = process.stdout } = this.#options;
    return path === '-' ? streamSink(stdout) : fileSink(await open(path, 'a', 0o640));
  }
}

/** Flat, so that each name can be searched for; times as in the log. */
function lineOf({ startedAt, durationMs, servicePort, ...others }: ConnectionRecord) {
  const time = new Date(startedAt).toISOString();
  // Microseconds: what a clock in binary fractions says beyond them is noise.
  return { time, ...servicePort, durationMs: Math.round(durationMs * 1_000) / 1_000, ...others };
}

function fileSink(file: FileHandle): Sink {
  return {
    write: (text) => file.appendFile(text),
    close: () => file.close(),
  };
}

/** Never closed: standard output is not ours. A reader that went away fails every write. */
function streamSink(stream: NodeJS.WritableStream): Sink {
  const ignore = () => undefined;
  stream.on('error', ignore);
  return {
    write: (text) =>
      new Promise((resolve, reject) => {
        stream.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    close: async () => {
      stream.off('error', ignore);
    },
  };
}
