/**
 * Python pickles as data: the opcodes that a state_dict needs, and calls only to the functions the caller lists.
 * Nothing of the file is ever executed. Dictionaries become Map, lists arrays, tuples Tuple.
 */

/** The pickle asks for something that is not allowed or does not make sense. */
export class PickleError extends Error {
	override name = "PickleError";
}

export class Tuple {
	readonly items: readonly unknown[];
	/** Of tuples in tuples. */
	readonly depth: number;
	constructor(items: readonly unknown[]) {
		this.items = items;
		this.depth =
			1 + items.reduce<number>((deepest, item) => (item instanceof Tuple ? Math.max(deepest, item.depth) : deepest), 0);
	}
}

/** What a Python name may stand for. Without `call` it can be passed on, not called. */
export class Global {
	readonly call?: (args: readonly unknown[]) => unknown;
	constructor(call?: (args: readonly unknown[]) => unknown) {
		this.call = call;
	}
}

const MAX_OPERATIONS = 4_000_000;
const MAX_MEMO = 1_000_000;
/** What may be allocated: a dictionary counts 8, a list or tuple 1. */
const MAX_OBJECTS = 1_000_000;
/** A long chain of tuples takes the garbage collector longer than the reader. */
const MAX_TUPLE_DEPTH = 100;
const MAX_STRING_BYTES = 2 ** 20;

/** Runs a pickle of protocol 2 to 5. `persistent` resolves persistent ids. Throws PickleError. */
export function unpickle(
	bytes: Uint8Array<ArrayBuffer>,
	globals: ReadonlyMap<string, Global>,
	persistent: (id: unknown) => unknown,
): unknown {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const text = new TextDecoder("utf-8", { fatal: true });
	const stack: unknown[] = [];
	const marks: number[] = [];
	const memo = new Map<number, unknown>();
	let at = 0;
	let objects = 0;

	const take = (count: number): number => {
		if (count > bytes.byteLength - at) throw new PickleError(`it ends at byte ${bytes.byteLength}, inside an operand`);
		at += count;
		return at - count;
	};
	const u8 = () => bytes[take(1)];
	const u16 = () => view.getUint16(take(2), true);
	const u32 = () => view.getUint32(take(4), true);
	const string = (length: number): string => {
		if (length > MAX_STRING_BYTES)
			throw new PickleError(`it has a string of ${length} bytes, more than ${MAX_STRING_BYTES}`);
		const start = take(length);
		try {
			return text.decode(bytes.subarray(start, start + length));
		} catch {
			throw new PickleError("it has a string that is not UTF-8");
		}
	};
	const line = (): string => {
		const end = bytes.indexOf(10, at);
		if (end < 0 || end - at > 256) throw new PickleError("it has a name without an end");
		const name = string(end - at);
		at++;
		return name;
	};
	const long = (length: number): number => {
		if (length > 8) throw new PickleError(`it has a number of ${length} bytes, more than 8`);
		const start = take(length);
		let value = 0n;
		for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[start + i]);
		value = BigInt.asIntN(length * 8, value);
		// Numbers this large are never sizes; tensors refuse them.
		return Number(value);
	};

	const pop = (): unknown => {
		if (stack.length <= (marks.at(-1) ?? 0)) throw new PickleError("it takes more off the stack than is there");
		return stack.pop();
	};
	const popMark = (): unknown[] => {
		const mark = marks.pop();
		if (mark === undefined) throw new PickleError("it closes a group that was not opened");
		return stack.splice(mark);
	};
	const top = <T>(kind: new (...args: never[]) => T, what: string): T => {
		const value = stack.length > (marks.at(-1) ?? 0) ? stack.at(-1) : undefined;
		if (!(value instanceof kind)) throw new PickleError(`it adds items to what is no ${what}`);
		return value;
	};
	const allocate = <T>(value: T, cost: number): T => {
		if ((objects += cost) > MAX_OBJECTS) throw new PickleError("it makes more objects than any checkpoint has");
		return value;
	};
	const tuple = (items: readonly unknown[]): Tuple => {
		const made = allocate(new Tuple(items), 1);
		if (made.depth > MAX_TUPLE_DEPTH) throw new PickleError(`it nests tuples deeper than ${MAX_TUPLE_DEPTH}`);
		return made;
	};
	const remember = (index: number): void => {
		if (memo.size >= MAX_MEMO) throw new PickleError(`it remembers more than ${MAX_MEMO} objects`);
		if (stack.length <= (marks.at(-1) ?? 0)) throw new PickleError("it remembers what is not there");
		memo.set(index, stack.at(-1));
	};
	const recall = (index: number): void => {
		if (!memo.has(index)) throw new PickleError(`it recalls object ${index}, which it never remembered`);
		stack.push(memo.get(index));
	};
	const global = (name: string): Global => {
		const found = globals.get(name);
		if (!found)
			throw new PickleError(`it asks for ${JSON.stringify(name)}, which is not needed for tensors and not allowed`);
		return found;
	};
	const setItems = (target: Map<unknown, unknown>, items: readonly unknown[]): void => {
		if (items.length % 2 !== 0) throw new PickleError("it has a key without a value");
		for (let i = 0; i < items.length; i += 2) {
			const key = items[i];
			if (typeof key !== "string" && typeof key !== "number")
				throw new PickleError("it has a key that is neither text nor number");
			if (target.has(key)) throw new PickleError(`it has the key ${JSON.stringify(key)} twice`);
			target.set(key, items[i + 1]);
		}
	};

	for (let operations = 0; ; operations++) {
		if (operations === MAX_OPERATIONS) throw new PickleError(`it has more than ${MAX_OPERATIONS} operations`);
		const opcode = u8();
		switch (opcode) {
			case 0x80: {
				// PROTO
				const protocol = u8();
				if (operations !== 0 || protocol < 2 || protocol > 5)
					throw new PickleError(`it is of protocol ${protocol}; 2 to 5 are read`);
				break;
			}
			case 0x95: {
				// FRAME
				if (view.getBigUint64(take(8), true) > BigInt(bytes.byteLength - at))
					throw new PickleError("it has a frame longer than itself");
				break;
			}
			case 0x28:
				marks.push(stack.length);
				break; // MARK
			case 0x7d:
				stack.push(allocate(new Map(), 8));
				break; // EMPTY_DICT
			case 0x5d:
				stack.push(allocate([], 1));
				break; // EMPTY_LIST
			case 0x29:
				stack.push(tuple([]));
				break; // EMPTY_TUPLE
			case 0x74:
				stack.push(tuple(popMark()));
				break; // TUPLE
			case 0x85:
				stack.push(tuple([pop()]));
				break; // TUPLE1
			case 0x86: {
				// TUPLE2
				const [b, a] = [pop(), pop()];
				stack.push(tuple([a, b]));
				break;
			}
			case 0x87: {
				// TUPLE3
				const [c, b, a] = [pop(), pop(), pop()];
				stack.push(tuple([a, b, c]));
				break;
			}
			case 0x4e:
				stack.push(null);
				break; // NONE
			case 0x88:
				stack.push(true);
				break; // NEWTRUE
			case 0x89:
				stack.push(false);
				break; // NEWFALSE
			case 0x4b:
				stack.push(u8());
				break; // BININT1
			case 0x4d:
				stack.push(u16());
				break; // BININT2
			case 0x4a:
				stack.push(view.getInt32(take(4), true));
				break; // BININT
			case 0x8a:
				stack.push(long(u8()));
				break; // LONG1
			case 0x47:
				stack.push(view.getFloat64(take(8), false));
				break; // BINFLOAT
			case 0x58:
				stack.push(string(u32()));
				break; // BINUNICODE
			case 0x8c:
				stack.push(string(u8()));
				break; // SHORT_BINUNICODE
			case 0x71:
				remember(u8());
				break; // BINPUT
			case 0x72:
				remember(u32());
				break; // LONG_BINPUT
			case 0x94:
				remember(memo.size);
				break; // MEMOIZE
			case 0x68:
				recall(u8());
				break; // BINGET
			case 0x6a:
				recall(u32());
				break; // LONG_BINGET
			case 0x63: {
				// GLOBAL
				const module = line();
				stack.push(global(`${module}.${line()}`));
				break;
			}
			case 0x93: {
				// STACK_GLOBAL
				const [name, module] = [pop(), pop()];
				if (typeof name !== "string" || typeof module !== "string")
					throw new PickleError("it names a global by what is not text");
				stack.push(global(`${module}.${name}`));
				break;
			}
			case 0x52: {
				// REDUCE
				const [args, callee] = [pop(), pop()];
				if (!(args instanceof Tuple)) throw new PickleError("it calls with what is no tuple");
				if (!(callee instanceof Global) || !callee.call) throw new PickleError("it calls what is no function");
				stack.push(allocate(callee.call(args.items), 8));
				break;
			}
			case 0x51:
				stack.push(allocate(persistent(pop()), 1));
				break; // BINPERSID
			case 0x73: {
				// SETITEM
				const [value, key] = [pop(), pop()];
				setItems(top(Map, "dictionary"), [key, value]);
				break;
			}
			case 0x75: {
				// SETITEMS
				const items = popMark();
				setItems(top(Map, "dictionary"), items);
				break;
			}
			case 0x61: {
				// APPEND
				const item = pop();
				top(Array, "list").push(item);
				break;
			}
			case 0x65: {
				// APPENDS
				const items = popMark();
				const list = top(Array, "list");
				for (const item of items) list.push(item);
				break;
			}
			case 0x62: {
				// BUILD: a state_dict carries `_metadata`, which inference does not need
				const state = pop();
				if (!(state instanceof Map)) throw new PickleError("it sets a state that is no dictionary");
				top(Map, "dictionary");
				break;
			}
			case 0x2e: {
				// STOP
				const result = pop();
				if (stack.length > 0 || marks.length > 0) throw new PickleError("it ends with more than one object");
				if (at !== bytes.byteLength) throw new PickleError(`${bytes.byteLength - at} bytes stand behind its end`);
				return result;
			}
			default:
				throw new PickleError(
					`it has the opcode 0x${opcode.toString(16).padStart(2, "0")} at byte ${at - 1}, which is not ` +
						"needed for tensors and not allowed",
				);
		}
	}
}
