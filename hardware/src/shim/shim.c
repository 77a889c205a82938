/* A PKCS#11 module for tests: it forwards every call to the module DPS_SHIM_MODULE, writes the name of each function to the file
 * DPS_SHIM_LOG, and follows the orders in the file DPS_SHIM_ORDERS, which is read at each call. An order is one line:
 *
 *   FUNCTION block            the call waits until the order is removed, and is forwarded then
 *   FUNCTION return CODE      the call is not forwarded and returns this code (decimal)
 *   attribute TYPE HEX        C_GetAttributeValue returns these bytes for the attribute (type in decimal; "-" is an empty value)
 *   attribute TYPE size N     C_GetAttributeValue reports this size for the attribute, and returns zeros
 *   token-flags FLAGS         C_GetTokenInfo adds these flags (decimal)
 *   no-token                  C_GetSlotList lists no slot
 *   key-sizes MIN MAX         C_GetMechanismInfo reports these lengths of keys (decimal)
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)(word, word, word, word, word, word, word, word);

/* CK_FUNCTION_LIST of PKCS#11 2.40: the version and 68 functions. */
struct function_list {
    unsigned char version[2];
    function functions[68];
};

/* CK_ATTRIBUTE. */
struct attribute {
    word type;
    unsigned char *value;
    word length;
};

enum { GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, GET_MECHANISM_INFO = 8, GET_ATTRIBUTE_VALUE = 24 };
enum { TOKEN_FLAGS_OFFSET = 96 };
#define CKR_GENERAL_ERROR 5
#define CKR_BUFFER_TOO_SMALL 0x150

#define EACH(F) \
    F(0, C_Initialize) F(1, C_Finalize) F(2, C_GetInfo) F(3, C_GetFunctionList_) F(4, C_GetSlotList) F(5, C_GetSlotInfo) \
    F(6, C_GetTokenInfo) F(7, C_GetMechanismList) F(8, C_GetMechanismInfo) F(9, C_InitToken) F(10, C_InitPIN) F(11, C_SetPIN) \
    F(12, C_OpenSession) F(13, C_CloseSession) F(14, C_CloseAllSessions) F(15, C_GetSessionInfo) F(16, C_GetOperationState) \
    F(17, C_SetOperationState) F(18, C_Login) F(19, C_Logout) F(20, C_CreateObject) F(21, C_CopyObject) F(22, C_DestroyObject) \
    F(23, C_GetObjectSize) F(24, C_GetAttributeValue) F(25, C_SetAttributeValue) F(26, C_FindObjectsInit) F(27, C_FindObjects) \
    F(28, C_FindObjectsFinal) F(29, C_EncryptInit) F(30, C_Encrypt) F(31, C_EncryptUpdate) F(32, C_EncryptFinal) \
    F(33, C_DecryptInit) F(34, C_Decrypt) F(35, C_DecryptUpdate) F(36, C_DecryptFinal) F(37, C_DigestInit) F(38, C_Digest) \
    F(39, C_DigestUpdate) F(40, C_DigestKey) F(41, C_DigestFinal) F(42, C_SignInit) F(43, C_Sign) F(44, C_SignUpdate) \
    F(45, C_SignFinal) F(46, C_SignRecoverInit) F(47, C_SignRecover) F(48, C_VerifyInit) F(49, C_Verify) F(50, C_VerifyUpdate) \
    F(51, C_VerifyFinal) F(52, C_VerifyRecoverInit) F(53, C_VerifyRecover) F(54, C_DigestEncryptUpdate) \
    F(55, C_DecryptDigestUpdate) F(56, C_SignEncryptUpdate) F(57, C_DecryptVerifyUpdate) F(58, C_GenerateKey) \
    F(59, C_GenerateKeyPair) F(60, C_WrapKey) F(61, C_UnwrapKey) F(62, C_DeriveKey) F(63, C_SeedRandom) F(64, C_GenerateRandom) \
    F(65, C_GetFunctionStatus) F(66, C_CancelFunction) F(67, C_WaitForSlotEvent)

static const char *names[] = {
#define NAME(number, name) #name,
    EACH(NAME)
};

static struct function_list *real;
static struct function_list ours;

static void record(const char *name)
{
    const char *path = getenv("DPS_SHIM_LOG");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    char line[64];
    int length = snprintf(line, sizeof line, "%s\n", name);
    if (file < 0)
        return;
    if (write(file, line, length) != length)
        abort();
    close(file);
}

/* Finds the first line with these two first words, and copies what follows them. */
static int order(const char *first, const char *second, char *rest, size_t size)
{
    const char *path = getenv("DPS_SHIM_ORDERS");
    FILE *file = path ? fopen(path, "r") : NULL;
    static __thread char line[70000];
    char start[128];
    int found = 0;
    snprintf(start, sizeof start, second ? "%s %s" : "%s", first, second);
    while (file && !found && fgets(line, sizeof line, file)) {
        size_t length = strlen(start);
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, start, length) == 0 && (line[length] == 0 || line[length] == ' ')) {
            snprintf(rest, size, "%s", line[length] ? line + length + 1 : "");
            found = 1;
        }
    }
    if (file)
        fclose(file);
    return found;
}

/* Returns an ordered value in the protocol of C_GetAttributeValue. */
static word answer(struct attribute *attribute, const char *rest)
{
    word length, i;
    int is_size = strncmp(rest, "size ", 5) == 0;
    if (is_size)
        length = strtoul(rest + 5, NULL, 10);
    else
        length = strcmp(rest, "-") == 0 ? 0 : strlen(rest) / 2;
    if (attribute->value && attribute->length < length) {
        attribute->length = (word)-1;
        return CKR_BUFFER_TOO_SMALL;
    }
    for (i = 0; attribute->value && i < length; i++) {
        unsigned byte = 0;
        if (!is_size)
            sscanf(rest + 2 * i, "%2x", &byte);
        attribute->value[i] = byte;
    }
    attribute->length = length;
    return 0;
}

static word call(int number, word a, word b, word c, word d, word e, word f, word g, word h)
{
    static __thread char rest[70000];
    word result;
    record(names[number]);
    while (order(names[number], "block", rest, sizeof rest))
        usleep(5000);
    if (order(names[number], "return", rest, sizeof rest))
        return strtoul(rest, NULL, 10);
    if (number == GET_ATTRIBUTE_VALUE && d == 1) {
        struct attribute *attribute = (struct attribute *)c;
        char type[32];
        snprintf(type, sizeof type, "%lu", attribute->type);
        if (order("attribute", type, rest, sizeof rest))
            return answer(attribute, rest);
    }
    result = real->functions[number](a, b, c, d, e, f, g, h);
    if (number == GET_SLOT_LIST && result == 0 && order("no-token", NULL, rest, sizeof rest))
        *(word *)c = 0;
    if (number == GET_TOKEN_INFO && result == 0 && order("token-flags", NULL, rest, sizeof rest))
        *(word *)((char *)b + TOKEN_FLAGS_OFFSET) |= strtoul(rest, NULL, 10);
    if (number == GET_MECHANISM_INFO && result == 0 && order("key-sizes", NULL, rest, sizeof rest))
        sscanf(rest, "%lu %lu", (word *)c, (word *)c + 1);
    return result;
}

#define FORWARD(number, name) \
    static word name(word a, word b, word c, word d, word e, word f, word g, word h) \
    { \
        return call(number, a, b, c, d, e, f, g, h); \
    }
EACH(FORWARD)

word C_GetFunctionList(struct function_list **list)
{
    static const function functions[] = {
#define POINTER(number, name) name,
        EACH(POINTER)
    };
    const char *path = getenv("DPS_SHIM_MODULE");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    word (*get)(struct function_list **) = module ? (word (*)(struct function_list **))dlsym(module, "C_GetFunctionList") : NULL;
    if (!get || get(&real) != 0)
        return CKR_GENERAL_ERROR;
    memcpy(ours.version, real->version, sizeof ours.version);
    memcpy(ours.functions, functions, sizeof functions);
    *list = &ours;
    return 0;
}
